"""`lmc_repro.study`: a grid in a notebook has the numbers of `lmc run`, and shows itself as the report does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import lmc
from trained_store import write_prepared

from lmc_repro import LmcError, study
from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset
from lmc_repro.report.grid import points
from lmc_repro.results.write import results_files

GRID: dict[str, Any] = {
    "base": {"batch": 64, "model": {"depth": 2, "width": 8}, "evaluate_at": [0, 9], "epochs": 9, "pairs": 2},
    "rows": {"linear": {"label": "slope 1", "model": {"slope": 1.0}}},
    "columns": {
        "sgd": {"label": "SGD", "optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.9}},
        "adam": {"label": "ADAM", "optimizer": {"kind": "adam", "lr": 0.05, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}},
    },
}
PROFILE: dict[str, Any] = {
    "numerics": "portable",
    "datasets": ["digits"],
    "points": 5,
    "judgement": {"threshold": 0.5},
    "settings": {"data": {"dataset": "digits"}},
}


@pytest.mark.slow
def test_its_numbers_are_those_of_lmc_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lmc_repro.data.prepare.ffcv_installed", lambda: False)  # seconds, and nothing streams here
    project = Project(tmp_path / "project")
    write_prepared(project, digits)
    params = {"profile": "own", "profiles": {"own": PROFILE}, "studies": {"grid": GRID}}
    project.params.write_text(json.dumps(params))
    monkeypatch.chdir(project.root)
    assert lmc("run", "grid", "--no-tracking", "--jobs", 1, "--epochs", 2, "--pairs", 1).code == 0
    expected = project.out / "own/grid/results/grid"

    monkeypatch.chdir(tmp_path)
    usual = {key: column | {"optimizer": dict(column["optimizer"])} for key, column in GRID["columns"].items()}
    for key in ("beta1", "beta2", "eps"):
        del usual["adam"]["optimizer"][key]  # as `run_config` has them

    def again(**more: Any) -> Any:
        capsys.readouterr()
        options = {"epochs": 2, "pairs": 1, "points": 5, "threshold": 0.5, "jobs": 1} | more
        return study(GRID, columns=usual, name="grid", folder="kept", **options)

    found = again()
    assert "4 runs: 0 reused, 4 to train" in capsys.readouterr().err
    for name, content in results_files(found.results).items():
        assert name == "runs.json" or content == (expected / name).read_bytes(), name  # it names the profile
    assert "4 runs: 4 reused, 0 to train" in (again(threshold=90.0), capsys.readouterr().err)[1]

    cells = json.loads((expected / "cells.json").read_text())
    assert [(cell["row"], cell["column"], cell["n"]) for cell in found.cells] == [
        ("linear", "sgd", 1),
        ("linear", "adam", 1),
    ]
    page, printed = found._repr_html_(), repr(found)
    for cell, stored in zip(found.cells, cells, strict=True):
        for split in ("test", "train"):
            names = ("mean", "line_mean", "verdict", "min", "max")
            shown = [cell[f"{split}_{name}"] for name in ("barrier", "line", "verdict", "min", "max")]
            assert shown == [stored[split][name] for name in names] and shown[0] is not None
        both = f"{points(cell['test_barrier'])} / {points(cell['train_barrier'])}"
        assert both in page and both in printed
    assert page.count("<svg") == 2 and page.count("<polyline") == 4
    assert "href=" not in page and " id=" not in page and "slope 1" in page
    assert found.to_pandas().to_dict("records") == found.cells
    assert found.plot().png.startswith(b"\x89PNG") and b"slope 1" in found.plot().svg
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LmcError, match="pip install pandas"):
        found.to_pandas()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"rows": {}}, "rows"),
        ({"rows": {"linear": 3}}, "rows.linear"),
        ({"epoch": 2}, "study: epoch: unknown key; did you mean epochs? "),
        ({"base": {"model": {"widht": 3}}}, "study: base.model.widht: "),
        ({"base": {"batch": 64, "model": {"depth": 2, "width": 8}}}, "epochs: missing"),
        ({"grid": {"rows": GRID["rows"], "columns": GRID["columns"]}}, ": batch: missing"),  # and not base
        ({"base": GRID["base"] | {"data": {"dataset": "mnsit"}}}, "mnist"),
        ({"base": GRID["base"] | {"data": {"dataset": "mnist"}}}, "params.yaml"),  # there is no project here
        ({"pairs": 0}, "pairs"),
        ({"points": 2}, "points"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_a_mistake_is_one_line(
    changed: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LmcError) as error:
        study(**{"grid": GRID} | changed)
    assert named in str(error.value) and "\n" not in str(error.value)
    assert error.value._render_traceback_()[0] == f"LmcError: {error.value.lines[0]}"  # all that a notebook shows
    assert not list(tmp_path.iterdir())
