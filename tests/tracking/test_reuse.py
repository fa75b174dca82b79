from __future__ import annotations

from pathlib import Path

import torch
from small_study import fingerprint, make_plan, open_tracker, same_cell_elsewhere, weights, write_run

from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking import Tracker


def models_everywhere(tracker: Tracker) -> int:
    client = tracker.client
    return len(client.search_logged_models([e.experiment_id for e in client.search_experiments()]))


def test_a_run_of_another_study_is_reused(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    first = open_tracker(project, plan)
    original = first.sync_train(cell, config, folder)
    second = open_tracker(project, make_plan("two"))
    reused = second.sync_train(cell, config, folder)
    assert reused != original
    assert models_everywhere(second) == 1
    client = second.client
    old, new = client.get_run(original), client.get_run(reused)
    assert new.info.status == "FINISHED"
    assert new.info.experiment_id == second.run_ids()["experiment_id"] != old.info.experiment_id
    assert new.data.metrics == old.data.metrics
    assert new.data.params == old.data.params | {"study": "two"}
    assert new.data.tags["lmc.reused_from"] == original
    inputs = {model.model_id for model in new.inputs.model_inputs}
    assert inputs == {output.model_id for output in old.outputs.model_outputs}
    third = open_tracker(project, make_plan("two"))
    assert third.sync_train(cell, config, folder) == reused
    assert len(client.get_run(reused).inputs.model_inputs) == 1
    run = third.runs(cell, [folder.fingerprint])[folder.fingerprint]
    assert torch.equal(third.checkpoint(run, 4).tensors()["weight"], weights(config, 4)["weight"])


def test_a_reuse_of_a_reuse_points_to_the_original(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    original = open_tracker(project, plan).sync_train(cell, config, folder)
    tracker = open_tracker(project, make_plan("two"))
    other_cell = same_cell_elsewhere(cell, "deep--slow")
    runs = [tracker.sync_train(c, config, folder) for c in (cell, other_cell)]
    assert len({original, *runs}) == 3
    client = tracker.client
    assert [client.get_run(run).data.tags["lmc.reused_from"] for run in runs] == [original, original]
    assert models_everywhere(tracker) == 1


def test_the_same_run_in_two_cells_of_a_study(tracker: Tracker, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    other = same_cell_elsewhere(cell, "deep--slow")
    original, reused = tracker.sync_train(cell, config, folder), tracker.sync_train(other, config, folder)
    assert original != reused
    assert models_everywhere(tracker) == 1
    run = tracker.runs(other, [fingerprint(config)])[fingerprint(config)]
    assert run.run_id == reused
    assert torch.equal(tracker.checkpoint(run, 2).tensors()["weight"], weights(config, 2)["weight"])


def test_checkpoints_come_back_when_the_original_is_deleted(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    first = open_tracker(project, plan)
    first.sync_train(cell, config, folder)
    reused = open_tracker(project, make_plan("two")).sync_train(cell, config, folder)
    client = first.client
    client.delete_experiment(first.run_ids()["experiment_id"])
    tracker = open_tracker(project, make_plan("two"))
    assert tracker.sync_train(cell, config, folder) == reused
    again = client.get_run(reused)
    assert "lmc.reused_from" not in again.data.tags
    assert [output.step for output in again.outputs.model_outputs] == [4]
    run = open_tracker(project, make_plan("two")).runs(cell, [folder.fingerprint])[folder.fingerprint]
    assert torch.equal(tracker.checkpoint(run, 4).tensors()["weight"], weights(config, 4)["weight"])
