from __future__ import annotations

import torch
from small_results import Small
from small_study import fingerprint, same_cell_elsewhere, weights

from lmc_repro.config.plan import Cell
from lmc_repro.tracking import Tracker


def models_everywhere(tracker: Tracker) -> int:
    client = tracker.client
    return len(client.search_logged_models([e.experiment_id for e in client.search_experiments()]))


def last_weights_are_there(small: Small, tracker: Tracker, cell: Cell, run_id: str) -> bool:
    run = tracker.runs(cell, [fingerprint(small.config)])[fingerprint(small.config)]
    back = [tracker.checkpoint(run, epoch).tensors()["weight"] for epoch in (2, 4)]
    return run.run_id == run_id and all(map(torch.equal, back, (weights(small.config, m)["weight"] for m in (2, 4))))


def test_a_run_of_another_study_is_reused_and_a_reuse_of_that_points_to_the_original(small: Small) -> None:
    original = small.sync()
    second = small.open("two")
    reused = small.sync(second)
    assert reused != original
    assert models_everywhere(second) == 1
    old, new = small.run(original), small.run(reused)
    assert new.info.status == "FINISHED"
    assert new.info.experiment_id == second.run_ids()["experiment_id"] != old.info.experiment_id
    assert new.data.metrics == old.data.metrics
    assert new.data.params == old.data.params | {"study": "two"}
    assert new.data.tags["lmc.reused_from"] == original
    outputs = {output.model_id for output in old.outputs.model_outputs}
    assert {model.model_id for model in new.inputs.model_inputs} == outputs
    third = small.open("two")
    assert small.sync(third) == reused
    assert len(small.run(reused).inputs.model_inputs) == 1
    assert last_weights_are_there(small, third, small.cell, reused)
    again = small.sync(third, cell=same_cell_elsewhere(small.cell, "deep--slow"))
    assert again not in (original, reused) and small.run(again).data.tags["lmc.reused_from"] == original
    assert models_everywhere(third) == 1


def test_the_same_run_in_two_cells_of_a_study(small: Small) -> None:
    other = same_cell_elsewhere(small.cell, "deep--slow")
    original, reused = small.sync(), small.sync(cell=other)
    assert original != reused
    assert models_everywhere(small.tracker) == 1
    assert last_weights_are_there(small, small.tracker, other, reused)


def test_checkpoints_come_back_when_the_original_is_deleted(small: Small) -> None:
    small.sync()
    reused = small.sync(small.open("two"))
    small.client.delete_experiment(small.tracker.run_ids()["experiment_id"])
    assert small.sync(small.open("two")) == reused
    again = small.run(reused)
    assert "lmc.reused_from" not in again.data.tags
    assert [output.step for output in again.outputs.model_outputs] == [4]
    assert last_weights_are_there(small, small.open("two"), small.cell, reused)
