"""`dvc repro`, `mlflow run .` and MLflow's UI, one after another on one project."""

from __future__ import annotations

import json

import pytest
from three_doors import Doors

pytestmark = [pytest.mark.slow, pytest.mark.server]


def test_the_first_trains_and_the_second_reuses(doors: Doors) -> None:
    assert "trained 24, reused 0, resumed 0" in doors.repro
    assert "trained 0, reused 24, resumed 0" in doors.mlflow_run
    assert "Running stage" not in doors.project.ok("dvc", "repro")


def test_the_server_answers_with_complete_cells(doors: Doors) -> None:
    cells = {cell["cell"]: cell for cell in json.loads((doors.results / "cells.json").read_text())}
    runs = {kind: doors.search(kind) for kind in ("cell", "train", "pair")}
    assert {kind: len(found) for kind, found in runs.items()} == {"cell": 4, "train": 24, "pair": 12}
    assert {run["status"] for found in runs.values() for run in found} == {"FINISHED"}
    parents = {run["tags"]["lmc.cell"]: run["run_id"] for run in runs["cell"]}
    assert parents.keys() == cells.keys()
    for run in runs["train"] + runs["pair"]:
        assert run["tags"]["mlflow.parentRunId"] == parents[run["tags"]["lmc.cell"]]
    for run in runs["train"]:
        assert {"train/error", "test/error", "train/loss", "test/loss", "train/batch_loss"} <= run["metrics"].keys()
    for run in runs["pair"]:
        (pair,) = (p for p in cells[run["tags"]["lmc.cell"]]["pairs"] if p["pair"] == run["params"]["pair"])
        assert {"path/alpha", "path/train_error", "path/test_error", "path/test_excess"} <= run["metrics"].keys()
        for split in ("train", "test"):
            assert run["metrics"][f"barrier/{split}"] == pytest.approx(pair[split]["barrier"], abs=1e-9)
            assert run["metrics"][f"barrier/{split}_norm_pct"] == pytest.approx(pair[split]["normalised"], abs=1e-9)
    for run in runs["cell"]:
        cell = cells[run["tags"]["lmc.cell"]]
        assert run["metrics"]["barrier/test_mean"] == pytest.approx(cell["test"]["mean"], abs=1e-9)
        assert run["tags"]["lmc.verdict.test"] == cell["test"]["verdict"]
