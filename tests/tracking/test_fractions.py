"""Evaluations within an epoch in the store, whose steps are whole: found again as they are, never as another epoch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from small_results import Small, make_cell, make_pair
from small_study import fingerprint, make_plan, weights

from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.results.read import read_study
from lmc_repro.results.write import write_results

EVALUATION_EPOCHS = (0, 0.5, 0.75, 1, 4)


@pytest.fixture
def plan() -> StudyPlan:
    return make_plan(evaluations=EVALUATION_EPOCHS)


def test_a_training_has_whole_steps_and_every_mark_once(small: Small) -> None:
    config, client = small.config, small.client
    run_id = small.sync()
    assert [step for step, _ in small.points(run_id, "test/error")] == [0, 1, 4]
    assert small.points(run_id, "test/error")[0][1] == 801 * (100.0 / 898)  # not that of 0.5
    files = {file.path for file in client.list_artifacts(run_id, "checkpoints")}
    assert files == {f"checkpoints/epoch-{epoch}.safetensors" for epoch in ("0000", "0000.5", "0000.75", "0001")}
    other = small.open()
    assert small.sync(other) == run_id
    assert len(client.search_logged_models([other.run_ids()["experiment_id"]])) == 1
    for reader in (small.tracker, other):
        run = reader.runs(small.cell, [fingerprint(config)])[fingerprint(config)]
        assert sorted(run.owner.models) == [4]
        for epoch in EVALUATION_EPOCHS:
            back, expected = reader.checkpoint(run, epoch).tensors(), weights(config, epoch)
            assert all(torch.equal(back[name], expected[name]) for name in expected)


def test_a_pair_keeps_the_fraction_in_a_table(small: Small) -> None:
    run_id = small.pair(middle=0.5)
    assert small.points(run_id, "barrier_over_training/test") == [(0, 34.25), (4, 35.0)]  # 0.5 is in the table
    client = small.client
    assert {file.path for file in client.list_artifacts(run_id)} == {"over_training.json", "path.json", "path.png"}
    table = json.loads(Path(client.download_artifacts(run_id, "over_training.json")).read_text())
    assert table["columns"] == ["epoch", "train_barrier", "test_barrier"]
    assert table["data"] == [[0, 25.0, 34.25], [0.5, 25.0, 34.75], [4, 25.0, 35.0]]
    shown = json.loads(small.run(run_id).data.tags["mlflow.loggedArtifacts"])
    assert [view["path"] for view in shown] == ["path.json", "over_training.json"]
    assert small.pair(middle=0.5) == run_id
    assert small.pair(middle=0.75) != run_id  # equal points: only the table tells them apart


def test_a_cell_shows_its_whole_late_marks(small: Small) -> None:
    result = make_cell(small.cell)
    for split, summary in result.summary.items():
        early = dataclasses.replace(summary.late[0], epoch=0.5)
        result.summary[split] = dataclasses.replace(summary, late=(early, *summary.late))
    run_id = small.tracker.finish_cell(small.cell, result)
    assert [step for step, _ in small.points(run_id, "barrier_over_training/test")] == [2, 4]


def test_the_files_of_a_comparison_come_back(plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    result = make_cell(cell)
    result = dataclasses.replace(result, pairs=tuple(make_pair(pair, middle=0.5) for pair in cell.pairs))
    for split, summary in result.summary.items():
        late = (dataclasses.replace(summary.late[0], epoch=0.5), summary.late[1])
        result.summary[split] = dataclasses.replace(summary, late=late)
    write_results(folder, plan, {cell.key: result}, [], {}, {}, "portable", "cpu")
    lines = (folder / "curves.csv").read_text().splitlines()
    assert lines[1] == "one,deep--fast,0,0,train,0.0,13,100,0.5"
    assert lines[7] == "one,deep--fast,0,0.5,train,0.0,11,100,0.5"
    results = read_study(folder)
    assert {key[2] for key in results.curves} == {0, 0.5, 4}
    assert results.curves[cell.key, "0", 0.5, "train"].wrong == (11, 41, 21)
    assert [late.epoch for late in results.cells[0].summary["test"].late] == [0.5, 4]
