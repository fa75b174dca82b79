"""A metric, an alignment, a repair and a callback from outside the package, from params.yaml to results and MLflow."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_study
import torch
from commands import lmc, refused
from helpers import final_weights, read_digits
from ruamel.yaml import YAML

from lmc_repro.barriers.alignment import permuted, units
from lmc_repro.barriers.methods import PathMethods
from lmc_repro.barriers.path import path_curves
from lmc_repro.common.errors import LmcError
from lmc_repro.config.run import MlpConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Model, Weights
from lmc_repro.models.registry import build_model
from lmc_repro.results.read import read_study
from lmc_repro.results.write import results_files
from lmc_repro.training.run_folder import RunFolder

LAB = Path(__file__).parents[2] / "examples" / "paths" / "lab.py"
PAGE = (LAB.parents[2] / "docs" / "extending.md").read_text()
CELL = "deep--fast"
RESULTS = "out/tiny/one/results/one"


def write_project(root: Path, study: dict[str, Any]) -> None:
    """Write a params.yaml whose study `one` has one cell of two layers and these keys."""
    params = copy.deepcopy(small_study.PARAMS)
    params["profiles"]["tiny"] |= {"pairs": 1, "points": 5}
    params["profiles"]["tiny"]["settings"] |= {"model": {"width": 8}, "epochs": 2, "evaluate_at": [0, 2]}
    one = params["studies"]["one"]
    one["rows"], one["columns"] = {"deep": one["rows"]["deep"]}, {"fast": one["columns"]["fast"]}
    one["base"] |= study.pop("base", {})
    one |= study
    del params["studies"]["two"]
    with open(root / "params.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    shutil.copy(LAB, root / "lab.py")


def run(*more: str) -> None:
    code, out, err = lmc("run", "one", "--jobs", "1", *more)
    assert code == 0, out + err


def curves(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / RESULTS / "curves.csv").read_text().splitlines()))


@pytest.fixture
def root(begun: Path) -> Path:
    return begun


@pytest.mark.slow
def test_all_of_them_from_params_to_results_and_mlflow(root: Path) -> None:
    write_project(root, {})
    run("--no-tracking")
    plain, plain_cells = curves(root), json.loads((root / RESULTS / "cells.json").read_text())
    assert list(plain[0])[-1] == "loss" and "path" not in plain_cells[0]

    named = {"metrics": ["lab.py:margin"], "align": "lab.py:mirrored", "repair": "lab.py:nearest_end"}
    write_project(root, {"base": named, "callbacks": ["lab.py:note_norm"]})
    run()  # the same trainings, another pair
    found, cells = curves(root), json.loads((root / RESULTS / "cells.json").read_text())
    assert {k: v if isinstance(v, list) else v.partition("#")[0] for k, v in cells[0]["path"].items()} == {
        **named, "metrics": cells[0]["path"]["metrics"],
    }  # fmt: skip
    assert cells[0]["path"]["metrics"][0].startswith("lab.py:margin#")
    assert list(found[0])[-2:] == ["loss", "margin"] and len(found) == len(plain)
    for i in range(0, len(found), 5):  # the ends' own counts; in between the nearer end's
        ends = [plain[i]["wrong"], plain[i + 4]["wrong"]]
        assert [row["wrong"] for row in found[i : i + 5]] == [ends[0], ends[0], ends[0], ends[1], ends[1]] or (
            [row["wrong"] for row in found[i : i + 5]] == [ends[0], ends[0], ends[1], ends[1], ends[1]]
        )
    study = read_study(root / RESULTS)
    assert results_files(study) == {path.name: path.read_bytes() for path in (root / RESULTS).iterdir()}

    cell = next(entry for entry in json.loads(lmc("list", "one", "--json").out)["cells"] if entry["cell"] == CELL)
    (pair,) = lmc("show", cell["run_id"], "--json").json["pairs"]
    view = lmc("show", pair["run_id"], "--json").json
    last = [row for row in found if row["epoch"] == "2" and row["split"] == "test"]
    assert [value for _, value in view["curves"]["path/test_margin"]] == [float(row["margin"]) for row in last]
    assert view["config"]["path.align"] == cells[0]["path"]["align"]
    assert "test_margin on the path" in lmc("show", pair["run_id"]).out
    assert lmc("verify", "one").code == 0

    (root / "lab.py").write_text(LAB.read_text() + "\n# another file\n")
    assert "lab.py: changed since this run" in lmc("verify", "one").out


@pytest.mark.slow
def test_a_partial_path_with_built_in_metrics_from_params_to_results_and_mlflow(root: Path) -> None:
    write_project(root, {"base": {"layers": {"only": 1}, "metrics": ["ece", "llfc"]}})
    run()
    cells, found = json.loads((root / RESULTS / "cells.json").read_text()), curves(root)
    assert cells[0]["path"] == {"layers": {"only": 1}, "metrics": ["ece", "llfc"]}
    assert list(found[0])[-3:] == ["loss", "ece", "llfc_layers_0"]
    assert all(float(row["llfc_layers_0"]) == pytest.approx(1.0, abs=1e-6) for row in found)
    study = read_study(root / RESULTS)
    assert results_files(study) == {path.name: path.read_bytes() for path in (root / RESULTS).iterdir()}
    assert lmc("verify", "one").code == 0
    cell = next(entry for entry in json.loads(lmc("list", "one", "--json").out)["cells"] if entry["cell"] == CELL)
    (pair,) = lmc("show", cell["run_id"], "--json").json["pairs"]
    again = lmc("reproduce", pair["run_id"])
    assert again.code == 0, again.out + again.err


def test_a_callback_sees_every_evaluation_epoch_and_a_failing_one_is_named(root: Path) -> None:
    write_project(root, {"callbacks": ["lab.py:note_norm"]})
    run("--no-tracking")
    for folder in (root / "out/tiny/one/runs").iterdir():
        stored = RunFolder(folder)
        lines = (root / ".lmc/runs" / f"{folder.name}.norms").read_text().splitlines()
        length = sum(w.double().square().sum().item() for w in final_weights(stored).values()) ** 0.5
        assert [line.split()[0] for line in lines] == ["0", "2"]
        assert float(lines[-1].split()[1]) == pytest.approx(length, abs=1e-3)
    (root / "bad.py").write_text("def broken(evaluation):\n    raise KeyError('loss')\n")
    shutil.rmtree(root / ".lmc")
    shutil.rmtree(root / "out")
    params = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text())
    params["studies"]["one"]["callbacks"] = ["bad.py:broken"]
    with open(root / "params.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    code, _, err = lmc("run", "one", "--jobs", "1", "--no-tracking")
    assert code == 2 and "error: callback bad.py:broken at epoch 0: KeyError: 'loss'" in err


MISTAKES = {
    "align": ("lab.py:nobody", "found no nobody"),
    "repair": ("reapir", "repair: found 'reapir', allowed: 'none', 'repair', FILE.py:NAME"),
    "metrics": (["lab.py:lead"], "params.yaml: studies.one: metrics lab.py:lead: is a function, expected a PathMetric"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_any_work(name: str, root: Path) -> None:
    value, told = MISTAKES[name]
    write_project(root, {"base": {name: value}})
    assert told in refused("check")


def test_a_metric_of_another_kind_is_refused_before_any_training(root: Path) -> None:
    write_project(root, {})
    code, _, err = lmc("run", "one", "--no-tracking", "--set", "metrics=[lab.py:lead]")
    assert code == 2 and "expected a PathMetric" in err
    assert not list(root.glob(".lmc/runs/*/status.json"))


Made = tuple[Model, Weights, Dataset]


@pytest.fixture
def made() -> Made:
    dataset = read_digits()
    model = build_model(MlpConfig(kind="mlp", depth=3, width=12, slope=0.0), dataset.info)
    return model, model.init(torch.Generator().manual_seed(0)), dataset


def test_an_alignment_that_undoes_a_permutation_finds_the_network_itself(made: Made) -> None:
    model, theta, dataset = made
    axes = model.axes()
    orders = {name: torch.randperm(units(axes, name), generator=torch.Generator().manual_seed(1)) for name in axes}
    moved, seen = permuted(theta, axes, orders), list[int]()

    def undone(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
        seen.append(seed)
        return permuted(theta_1, model.axes(), {name: order.argsort() for name, order in orders.items()})

    back = PathMethods(align=undone).aligned(model, theta, moved, dataset, 7)
    assert seen == [7] and all(torch.equal(back[name], theta[name]) for name in theta)


def test_an_alignment_that_changes_the_function_is_named(made: Made) -> None:
    model, theta, dataset = made
    first = next(iter(theta))

    def wrong(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
        return {**theta_1, first: theta_1[first].flip(0)}

    with pytest.raises(LmcError, match=r"align wrong: .* images are predicted differently"):
        PathMethods(align=wrong, align_name="align wrong").aligned(model, theta, theta, dataset, 0)


def test_a_repair_changes_inner_points_alone_and_is_not_taken_for_a_line(made: Made) -> None:
    model, theta, dataset = made
    last = list(theta)[-1]

    asked = list[int]()

    def lost(model: Model, ends: tuple[Weights, Weights], dataset: Dataset) -> Callable[[Weights], Weights]:
        asked.append(len(asked))
        return lambda theta_alpha: {**theta_alpha, last: torch.full_like(theta_alpha[last], torch.nan)}

    other = model.init(torch.Generator().manual_seed(1))
    for end in (theta, other):  # a network with itself, too
        plain = path_curves(model, dict(theta), dict(end), dataset, 4)["test"]
        found = path_curves(model, dict(theta), dict(end), dataset, 4, methods=PathMethods(repair=lost))["test"]
        assert found.wrong == (plain.wrong[0], plain.n, plain.n, plain.wrong[-1])
    assert len(asked) == 2  # once per path


def test_the_page_has_what_runs_here() -> None:
    code = LAB.read_text().split("\n\n\n")[1:]
    assert len(code) == 5 and all(part.strip() in PAGE for part in code)
