"""A plane from params.yaml to results, MLflow, report and figures: made twice, resumed, verified, refused."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Said, lmc, refused
from helpers import contents
from small_study import PARAMS

from lmc_repro.cli.plans import write_plans
from lmc_repro.common.errors import LmcError
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.params import Params
from lmc_repro.config.study import Settings
from lmc_repro.pipeline import compare
from lmc_repro.results.read import read_study
from lmc_repro.results.write import results_files
from lmc_repro.tracking.names import cell_identity
from lmc_repro.training.run_folder import RunFolder

OUT = Path("out/tiny/one")
RESULTS = OUT / "results" / "one"


def params(columns: tuple[str, ...] = ("fast",), **base: Any) -> dict[str, Any]:
    """Return params.yaml of a study of one row, whose base has these settings more."""
    made: dict[str, Any] = json.loads(json.dumps(PARAMS))
    made["profiles"]["tiny"]["settings"] |= {"model": {"width": 8}, "epochs": 2, "evaluate_at": [0, 2]}
    one = made["studies"]["one"]
    del made["studies"]["two"], one["rows"]["shallow"]
    one["columns"] = {key: value for key, value in one["columns"].items() if key in columns}
    one["base"] |= base
    return made


def write(made: dict[str, Any]) -> None:
    Path("params.yaml").write_text(json.dumps(made))


def run(*more: str) -> Said:
    said = lmc("run", "one", "--jobs", "1", *more)
    assert said.code == 0, said.out + said.err
    return said


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader((RESULTS / "planes.csv").read_text().splitlines()))


def verified() -> tuple[int, list[str], dict[str, tuple[int, int]]]:
    said = lmc("verify", "one", "--json")
    checks = {check["name"]: (check["equal"], check["total"]) for check in said.json["checks"]}
    return said.code, said.json["problems"], {name: count for name, count in checks.items() if "plane" in name}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_from_params_to_results_mlflow_and_figures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(params())
    run("--no-tracking")
    plain = contents(RESULTS)
    assert "planes.csv" not in plain

    write(params(plane={"points": 5, "margin": 0.25}))
    run()
    found = contents(RESULTS)
    assert {name for name in plain if plain[name] != found[name]} == {"cells.json"}
    study = read_study(RESULTS)
    assert results_files(study) == found
    (plane,) = study.planes.values()
    assert json.loads(found["cells.json"])[0]["plane"] == {"points": 5, "margin": 0.25}
    pairs = json.loads(found["cells.json"])[0]["pairs"]
    runs = [*pairs[0]["fingerprints"], pairs[1]["fingerprints"][0]]
    assert list(plane.fingerprints) == runs
    assert math.dist(*plane.corners[:2]) == pytest.approx(pairs[0]["distance"], rel=1e-9)
    assert [len(rows()), len([row for row in rows() if row["run"]])] == [2 * (3 + 25), 6]
    for row in (row for row in rows() if row["run"]):
        metrics = RunFolder(OUT / "runs" / row["run"]).metrics()
        logged = {(m.epoch, m.split): str(m.wrong) for m in metrics}
        assert row["wrong"] == logged[2, row["split"]]

    cell = next(iter(lmc("list", "one", "--json").json["cells"]))["run_id"]
    view = lmc("show", cell, "--json").json
    grid = [int(row["wrong"]) for row in rows() if not row["run"] and row["split"] == "test"]
    assert view["numbers"]["plane/test_highest"] == pytest.approx(max(grid) / 8.98)
    assert view["numbers"]["plane/test_lowest"] == pytest.approx(min(grid) / 8.98)
    assert view["numbers"]["plane/distance_1_2"] == pytest.approx(pairs[0]["distance"])
    assert view["config"]["plane.points"] == 5
    assert "plane.svg" in lmc("show", cell).out
    (artifact,) = root.glob(f"mlartifacts/**/{cell}/artifacts/planes.csv")
    assert artifact.read_bytes() == found["planes.csv"]
    drawn = artifact.with_name("plane.svg").read_bytes()
    assert all(f">{i}: seeds {seeds}<".encode() in drawn for i, seeds in ((1, "0-0"), (2, "0-1"), (3, "1-2")))
    assert {path.suffix for path in (OUT / "report" / "figures").glob("one-plane-*")} == {".png", ".svg", ".pdf"}
    assert lmc("plot", "one", "--plane", "--out", "plane.pdf").code == 0
    assert Path("plane.pdf").read_bytes().startswith(b"%PDF")
    counts = {"runs on planes": (1, 1), "planes measured again": (1, 1), "planes.csv": (1, 1)}
    assert verified() == (0, [], counts)

    other = root / "other"
    other.mkdir()
    shutil.copy("params.yaml", other)
    monkeypatch.chdir(other)  # as on another machine
    assert lmc("publish", root / OUT).code == 0
    cell = next(iter(lmc("list", "one", "--json").json["cells"]))["run_id"]
    (artifact,) = other.glob(f"mlartifacts/**/{cell}/artifacts/plane.svg")
    assert artifact.read_bytes() == drawn
    monkeypatch.chdir(root)

    text = found["planes.csv"].decode().splitlines()
    for place, words in ((1, "metrics.csv"), (-1, "planes.csv")):  # a run's own count, and one of the grid
        changed = text[place].split(",")
        changed[6] = str(int(changed[6]) + 1 - 2 * (changed[6] == changed[7]))
        lines = [*text]
        lines[place] = ",".join(changed)
        (RESULTS / "planes.csv").write_text("\n".join([*lines, ""]))
        code, problems, _ = verified()
        assert code == 1 and any(words in problem for problem in problems), problems
        if place == 1:
            assert "planes.csv: cell deep--fast: " in refused("publish", OUT)
    (RESULTS / "planes.csv").write_text("\n".join([*text[:-1], ""]))
    assert "planes.csv" in refused("plot", "one", "--plane", "--out", "plane.pdf")

    shutil.rmtree(RESULTS)
    shutil.rmtree(".lmc/pairs")
    run()  # measured again
    assert contents(RESULTS) == found
    write(params())
    run("--no-tracking")
    assert contents(RESULTS) == plain


@pytest.mark.slow
def test_an_interrupted_comparison_keeps_its_finished_planes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(params(("fast", "slow"), plane={"points": 3}))
    made, stored = list[str](), list[str]()
    task, store = compare.plane_task, compare.store_measured

    def counted(runs: Any, *rest: Any) -> Any:
        made.append(runs[0].fingerprint)
        return task(runs, *rest)

    def second_fails(folder: Path, key: str, plane: Any) -> None:
        stored.append(plane.fingerprints[0])
        if len(stored) == 2:
            raise LmcError("interrupted")
        store(folder, key, plane)

    monkeypatch.setattr(compare, "plane_task", counted)
    monkeypatch.setattr(compare, "store_measured", second_fails)
    assert "interrupted" in lmc("run", "one", "--jobs", "1", "--no-tracking").err
    assert not RESULTS.exists()
    run("--no-tracking")
    assert made == [*stored[:2], stored[1]] and len(stored) == 3
    first = contents(RESULTS)
    assert len(read_study(RESULTS).planes) == 2
    run("--no-tracking")
    assert len(made) == 3 and contents(RESULTS) == first
    assert refused("plot", "one", "--plane", "--out", "plane.svg").startswith("--plane: found deep--fast, deep--slow")
    assert lmc("plot", "one", "--plane", "--column", "slow", "--out", "plane.svg").code == 0


@pytest.mark.slow
def test_runs_on_one_line_are_named_and_the_study_goes_on(root: Path) -> None:
    write(params(plane={}, pair="spawn", spawn_at=2))  # at the last epoch: the two runs of a pair are one network
    said = run()
    assert "cell deep--fast: no plane: the weights of the three runs lie on one line" in said.err + said.out
    assert rows() == [] and read_study(RESULTS).planes == {}
    assert "no plane" in (OUT / "report" / "index.html").read_text()
    assert verified() == (0, [], {"planes measured again": (1, 1), "planes.csv": (1, 1)})


def test_two_runs_and_moved_weights_are_refused(root: Path) -> None:
    write(params(plane={}))
    refusal = refused("run", "one", "--pairs", "1", "--dry-run")
    assert "row deep, column fast" in refusal and refusal.endswith(
        "plane: found 2 runs, allowed: 3 or more; give more pairs, or no plane"
    )
    for moved in ({"layers": {"only": 1}}, {"repair": "repair"}, {"align": "weights", "metrics": ["ece"]}):
        write(params(plane={}, **moved))
        assert f"plane: goes through the runs' own weights, which {next(iter(moved))}" in refused("check")
    write(params(plane={}, metrics=["ece"]))
    assert lmc("check").code == 0
    for wrong in ({"points": 1}, {"margin": -0.1}, {"size": 3}):
        write(params(plane=wrong))
        assert "plane" in refused("check")
    write(params())
    assert lmc("run", "one", "--set", "plane={points: 4}", "--dry-run").code == 0


def test_a_plane_that_is_not_asked_for_moves_no_plan_and_no_identity(tmp_path: Path) -> None:
    texts, names = [], []
    for base in ({}, {"plane": {"points": 9}}):
        made = Params.model_validate(params(**base))
        write_plans(made, tmp_path)
        texts.append(json.loads((tmp_path / "one.json").read_text()))
        (cell,) = plan_study(made, "one").cells
        names.append(cell_identity(cell, "d", "portable", "2"))
    (without,), (with_plane,) = (text["cells"] for text in texts)
    assert "plane" not in json.dumps(texts[0])
    assert with_plane == without | {"plane": {"points": 9, "margin": 0.2}}
    (cell,) = plan_study(Params.model_validate(params()), "one", Choice(settings=Settings(plane={"points": 9}))).cells
    assert names[0] != names[1] == cell_identity(cell, "d", "portable", "2")
