"""The main job as a user runs it: dvc repro, lmc, MLflow. The tests of this file build on one another, in order.

Those without the marker `slow` are the one end-to-end test of `make test`.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_project import Finished, TinyProject, contents

from lmc_repro.tracking.store import import_mlflow

ROWS, COLUMNS = ("1-layer-bs1024", "2-layer-bs1024"), ("sgd-high", "adam-high")


def client(project: TinyProject) -> Any:
    """Return a client of the store as it is now: of a copy, since MLflow keeps an open file by its name."""
    import_mlflow("sqlite:///")  # with its deprecation warnings kept quiet
    from mlflow import MlflowClient

    copy = project.root.parent / f"{project.root.name}-store-{len(list(project.root.parent.glob('*-store-*.db')))}.db"
    shutil.copy(project.root / "mlflow.db", copy)
    return MlflowClient(f"sqlite:///{copy}")


def runs(project: TinyProject, kind: str) -> list[Any]:
    store = client(project)
    experiment = store.get_experiment_by_name("lmc/table1/digits")
    return list(store.search_runs([experiment.experiment_id], f"tags.`lmc.kind` = '{kind}'", max_results=1000))


def logged_weights(project: TinyProject, fingerprint: str) -> Path:
    """Return MLflow's file of a run's last weights; its folder also holds copies that a lost store left behind."""
    store = client(project)
    experiment = store.get_experiment_by_name("lmc/table1/digits").experiment_id
    models = store.search_logged_models([experiment], max_results=200)
    (model,) = [m for m in models if m.tags["lmc.fingerprint"] == fingerprint and m.params["epoch"] == "3"]
    (path,) = Path(model.artifact_location.removeprefix("file://")).rglob("*.safetensors")
    return path


def cells(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "cells.json").read_text())
    return found


def curves(folder: Path) -> dict[tuple[str, str, int, str], list[tuple[int, int]]]:
    """Return (wrong, n) along alpha by cell, pair, epoch and split, as anyone would read the file."""
    found: dict[tuple[str, str, int, str], list[tuple[int, int]]] = defaultdict(list)
    with open(folder / "curves.csv", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["cell"], row["pair"], int(row["epoch"]), row["split"])
            found[key].append((int(row["wrong"]), int(row["n"])))
    return found


def test_dvc_repro_runs_every_stage_once(finished: Finished) -> None:
    assert "trained 24, reused 0, resumed 0" in finished.printed
    assert "compared 12 pairs in 4 cells" in finished.printed


@pytest.mark.slow
def test_dvc_shows_the_numbers_and_the_paths(tiny: TinyProject) -> None:
    """In a fresh clone, which has what Git holds and nothing of DVC's cache."""
    found = cells(tiny.root / "results" / "table1")
    means = {cell["cell"]: cell["test"]["mean"] for cell in found}
    each = json.loads((tiny.root / "report" / "barriers.json").read_text())["table1"]
    assert {key: numbers["test_barrier"] for key, numbers in each.items()} == pytest.approx(means, abs=1e-4)
    commit = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "results")
    tiny.ok("git", "add", ".")
    assert tiny.ok("git", "ls-files", "report").splitlines() == [
        "report/metrics.json",
        "report/paths/table1.csv",
    ]
    tiny.ok(*commit)
    clone = TinyProject(tiny.root.parent / "clone")
    tiny.ok("git", "clone", "-q", ".", str(clone.root))

    def numbers(*command: str) -> Any:
        printed = clone.ok("dvc", "metrics", *command, "--json")
        return json.loads(printed[printed.index("{") :])

    shown = numbers("show")[""]["data"]["report/metrics.json"]["data"]
    mean = sum(means.values()) / len(means)
    assert (shown["cells"], shown["barrier"]) == (4, {"table1": pytest.approx(mean, abs=1e-4)})
    shown["barrier"]["table1"] = 99.0
    (clone.root / "report" / "metrics.json").write_text(json.dumps(shown))
    (changed,) = numbers("diff")["report/metrics.json"].items()
    assert changed[0] == "barrier.table1" and changed[1]["diff"] == pytest.approx(99.0 - mean, abs=1e-4)
    clone.ok("dvc", "plots", "show")
    page = (clone.root / "dvc_plots" / "index.html").read_text()
    assert '"facet"' in page  # drawn by our template
    assert page.count('"split": "test"') == 11 * len(found)
    assert "dvc_plots" not in clone.ok("git", "status", "--short")
    shutil.rmtree(clone.root)


def test_every_cell_has_its_runs_and_its_numbers_in_mlflow(tiny: TinyProject) -> None:
    assert len(runs(tiny, "cell")) == 4
    assert {run.info.status for kind in ("cell", "train", "pair") for run in runs(tiny, kind)} == {"FINISHED"}
    parents = {run.info.run_id: run.data.tags["lmc.cell"] for run in runs(tiny, "cell")}
    for kind, count in (("train", 6), ("pair", 3)):
        children: dict[str, int] = defaultdict(int)
        for run in runs(tiny, kind):
            assert parents[run.data.tags["mlflow.parentRunId"]] == run.data.tags["lmc.cell"]
            children[run.data.tags["lmc.cell"]] += 1
        assert dict(children) == {f"{row}--{column}": count for row in ROWS for column in COLUMNS}


def test_barriers_recomputed_from_the_curves_equal_files_and_mlflow(tiny: TinyProject) -> None:
    results = tiny.root / "results" / "table1"
    along = curves(results)
    logged = {(run.data.tags["lmc.cell"], run.data.params["pair"]): run.data.metrics for run in runs(tiny, "pair")}
    for cell, split in itertools.product(cells(results), ("train", "test")):
        barriers = []
        for pair in cell["pairs"]:
            points = along[cell["cell"], pair["pair"], 3, split]
            errors = [100.0 * wrong / n for wrong, n in points]
            assert len(errors) == 11
            if pair["status"] != ["trained", "trained"]:
                assert pair[split]["barrier"] is None
                continue
            barriers.append(max(errors) - (errors[0] + errors[-1]) / 2)
            assert pair[split]["barrier"] == pytest.approx(barriers[-1], abs=1e-9)
            assert logged[cell["cell"], pair["pair"]][f"barrier/{split}"] == pytest.approx(barriers[-1], abs=1e-9)
        assert len(cell["pairs"]) == 3 and cell[split]["mean"] == pytest.approx(statistics.fmean(barriers), abs=1e-9)


def test_weights_read_back_from_mlflow_give_the_curves(tiny: TinyProject) -> None:
    """Without any of our code but the data: interpolate the logged weights and count wrong predictions."""
    data = load_file(tiny.root / "data" / "prepared" / "digits" / "test.safetensors")
    # The catalog's normalisation, written out.
    scale, shift = 1.0 / (16 * 0.3764), -0.3049 / 0.3764
    images = data["images"].flatten(1).double() * scale + shift
    along = curves(tiny.root / "results" / "table1")
    (cell,) = [c for c in cells(tiny.root / "results" / "table1") if c["cell"] == "2-layer-bs1024--adam-high"]
    weights = []
    for fingerprint in cell["pairs"][0]["fingerprints"]:
        logged = load_file(logged_weights(tiny, fingerprint))
        weights.append({name: tensor.double() for name, tensor in logged.items()})
    wrong = []
    for i in range(11):
        w = {name: (1 - i / 10) * weights[0][name] + i / 10 * weights[1][name] for name in weights[0]}
        hidden = images @ w["layers.0.weight"].T + w["layers.0.bias"]
        logits = hidden @ w["layers.1.weight"].T + w["layers.1.bias"]
        wrong.append(int((logits.argmax(1) != data["labels"]).sum()))
    stored = [count for count, _ in along[cell["cell"], "0", 3, "test"]]
    assert torch.tensor(wrong).sub(torch.tensor(stored)).abs().max() <= 1  # a tie may fall otherwise in float64


@pytest.mark.slow
def test_lmc_run_reuses_all_and_writes_the_same_results(tiny: TinyProject) -> None:
    printed = tiny.lmc("run", "table1")
    assert "trained 0, reused 24, resumed 0" in printed
    ours, theirs = tiny.root / "results" / "table1", tiny.root / "out" / "digits" / "table1" / "results" / "table1"
    assert contents(ours) == contents(theirs)
    assert len(runs(tiny, "train")) == 24
    assert len(runs(tiny, "pair")) == 12
    again = tiny.ok("dvc", "repro")
    assert "Running stage" not in again and "up to date" in again


@pytest.mark.slow
def test_a_lost_store_is_rebuilt_without_training(tiny: TinyProject) -> None:
    before = {kind: len(runs(tiny, kind)) for kind in ("cell", "train", "pair")}
    results = contents(tiny.root / "results")
    for path in tiny.root.glob("mlflow.db*"):
        path.unlink()
    printed = tiny.ok("dvc", "repro", "-f", "-s", "compare@table1")
    assert "training" not in printed
    assert {kind: len(runs(tiny, kind)) for kind in ("cell", "train", "pair")} == before
    assert contents(tiny.root / "results") == results


@pytest.mark.slow
def test_a_changed_rate_retrains_its_column_only(tiny: TinyProject) -> None:
    params = tiny.params()
    params["profiles"]["digits"]["optimizers"]["sgd-high"]["lr"] = 0.02
    tiny.write_params(params)
    assert "trained 12, reused 12, resumed 0" in tiny.ok("dvc", "repro")
    changed = {run["fingerprint"] for run in json.loads((tiny.root / "results/table1/runs.json").read_text())["runs"]}
    assert {path.name for path in (tiny.root / "runs" / "table1").iterdir()} == changed


@pytest.mark.slow
def test_a_mistake_is_one_line_from_both_and_loses_nothing(tiny: TinyProject) -> None:
    good = (tiny.root / "params.yaml").read_text()
    kept = contents(tiny.root / "runs") | contents(tiny.root / "results")
    (tiny.root / "params.yaml").write_text(good.replace("lr: 0.02", "lr: fast"))
    line = "error: params.yaml: profiles.digits.optimizers.adam-high.lr: found 'fast', allowed: a valid number"
    assert line in tiny.fails("lmc", "train", "table1").splitlines()[0]
    assert line in tiny.fails("dvc", "repro", code=255)
    assert contents(tiny.root / "runs") | contents(tiny.root / "results") == kept
    (tiny.root / "params.yaml").write_text(good)
