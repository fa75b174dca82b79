from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from small_study import DIGESTS, fingerprint, make_plan, make_rows, open_tracker, weights, write_run

from lmc_repro.common.errors import LmcError
from lmc_repro.common.locks import this_process
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking import Tracker

METRICS = ("train/error", "train/loss", "test/error", "test/loss", "train/batch_loss", "weights/distance_from_init")


def counts(tracker: Tracker) -> dict[str, int]:
    """Count everything that a doubled call would add to."""
    client, experiment = tracker.client, tracker.run_ids()["experiment_id"]
    runs = [client.get_run(run.info.run_id) for run in client.search_runs([experiment])]
    points = [len(client.get_metric_history(run.info.run_id, name)) for run in runs for name in run.data.metrics]
    return {
        "runs": len(runs),
        "models": len(client.search_logged_models([experiment])),
        "points": sum(points),
        "outputs": sum(len(run.outputs.model_outputs) for run in runs),
        "inputs": sum(len(run.inputs.dataset_inputs) + len(run.inputs.model_inputs) for run in runs),
    }


def points_of(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, metric))


def test_a_complete_run_is_published_with_its_numbers(tracker: Tracker, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[1]
    run_id = tracker.sync_train(cell, config, write_run(tmp_path, config))
    client = tracker.client
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "fast deep seeds 0-1"
    assert points_of(client, run_id, "train/error") == [(e, (800 - 100 * e) * (100 / 899)) for e in (0, 2, 4)]
    assert points_of(client, run_id, "test/loss") == [(e, 1.5 / (1 + e)) for e in (0, 2, 4)]
    assert points_of(client, run_id, "train/batch_loss") == [(e, 2.0 / e + 1) for e in (1, 2, 3, 4)]
    start, end = weights(config, 0), weights(config, 4)
    distance = sum(((end[name].double() - start[name].double()) ** 2).sum() for name in start) ** 0.5
    assert points_of(client, run_id, "weights/distance_from_init") == [(4, float(distance))]
    expected = {"cell": "deep--fast", "optimizer.lr": "0.1", "seeds.loader": "1", "model.bias": "true", "study": "one"}
    assert expected.items() <= run.data.params.items()
    tags = run.data.tags
    assert tags["lmc.fingerprint"] == fingerprint(config)
    assert tags["lmc.data_digest"] == DIGESTS["digits"]
    assert tags["lmc.order_sha256"] == f"{1:064x}"
    assert "lmc.diverged_epoch" not in tags
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", DIGESTS["digits"][:36])
    parent = client.get_run(tags["mlflow.parentRunId"])
    assert parent.data.tags["lmc.kind"] == "cell"
    assert parent.info.run_name == "fast deep"
    assert parent.data.params["optimizer.lr"] == "0.1"
    assert "seeds.loader" not in parent.data.params


def test_the_last_checkpoint_is_a_logged_model_and_earlier_ones_are_files(
    tracker: Tracker, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    run_id = tracker.sync_train(cell, config, folder)
    client = tracker.client
    [output] = client.get_run(run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (output.step, str(model.status)) == (4, "READY")
    assert (model.model_type, model.source_run_id) == ("lmc-checkpoint", run_id)
    assert model.params == {"epoch": "4"}
    assert model.tags["lmc.sha256"] == folder.status()["checkpoints"]["4"]
    found = client.search_logged_models(
        [tracker.run_ids()["experiment_id"]], filter_string=f"params.epoch = '4' and source_run_id = '{run_id}'"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.run_ids()["uri"])
    path = Path(download_artifacts(f"models:/{found[0].model_id}"))
    assert (path / "epoch-0004.safetensors").read_bytes() == folder.checkpoint(4).read_bytes()
    earlier = Path(download_artifacts(f"runs:/{run_id}/checkpoints"))
    assert sorted(file.name for file in earlier.iterdir()) == ["epoch-0000.safetensors", "epoch-0002.safetensors"]
    for epoch in (0, 2):
        assert (earlier / f"epoch-{epoch:04d}.safetensors").read_bytes() == folder.checkpoint(epoch).read_bytes()


def test_weights_come_back_bit_for_bit(tracker: Tracker, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    tracker.sync_train(cell, config, write_run(tmp_path, config))
    found = tracker.runs(cell, [fingerprint(run) for run in cell.runs])
    assert list(found) == [fingerprint(config)]
    run = found[fingerprint(config)]
    assert run.status["diverged_epoch"] is None
    for epoch in (0, 2, 4):
        back, expected = tracker.checkpoint(run, epoch).tensors(), weights(config, epoch)
        assert back.keys() == expected.keys()
        assert all(torch.equal(back[name], expected[name]) for name in expected)


def test_publishing_again_adds_nothing(
    tracker: Tracker, project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    folders = {config: write_run(tmp_path, config) for config in cell.runs[:2]}
    first = [tracker.sync_train(cell, config, folder) for config, folder in folders.items()]
    before = counts(tracker)
    assert before == {"runs": 3, "models": 2, "points": 34, "outputs": 2, "inputs": 2}
    assert [tracker.sync_train(cell, config, folder) for config, folder in folders.items()] == first
    other = open_tracker(project, plan)
    assert [other.sync_train(cell, config, folder) for config, folder in folders.items()] == first
    assert counts(other) == before


def test_live_then_complete(tracker: Tracker, project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    run_id = tracker.sync_train(cell, config, write_run(tmp_path, config, last=0))
    client = tracker.client
    assert client.get_run(run_id).info.status == "RUNNING"
    assert points_of(client, run_id, "train/loss") == [(0, 1.0)]
    assert tracker.sync_train(cell, config, write_run(tmp_path, config, last=2)) == run_id
    assert points_of(client, run_id, "train/batch_loss") == [(1, 2.0), (2, 1.0)]
    assert tracker.runs(cell, [fingerprint(config)]) == {}
    other = open_tracker(project, plan)  # as after an interruption
    assert other.sync_train(cell, config, write_run(tmp_path, config, last=2)) == run_id
    assert other.sync_train(cell, config, write_run(tmp_path, config)) == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    for metric in METRICS[:5]:
        steps = [step for step, _ in points_of(client, run_id, metric)]
        assert steps == ([1, 2, 3, 4] if metric == "train/batch_loss" else [0, 2, 4])
    assert counts(other) == {"runs": 2, "models": 1, "points": 17, "outputs": 1, "inputs": 1}


def test_an_interrupted_run_is_killed_and_goes_on(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    config = cell.runs[0]
    with open_tracker(project, plan) as tracker:
        run_id = tracker.sync_train(cell, config, write_run(tmp_path, config, last=2))
    client = tracker.client
    assert client.get_run(run_id).info.status == "KILLED"
    with open_tracker(project, plan) as tracker:
        assert tracker.sync_train(cell, config, write_run(tmp_path, config, last=2)) == run_id
        assert client.get_run(run_id).info.status == "RUNNING"
        tracker.sync_train(cell, config, write_run(tmp_path, config))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_run_that_another_process_went_on_with_is_taken_over(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    """Of two trackers that both saw it begin, each logs what the store lacks then, not what it knew."""
    config = cell.runs[0]
    first = open_tracker(project, plan)
    run_id = first.sync_train(cell, config, write_run(tmp_path, config, last=0))
    client = first.client
    client.set_tag(run_id, "lmc.process", "elsewhere boot namespace 1 1")  # as another process leaves it
    second = open_tracker(project, plan)
    assert second.sync_train(cell, config, write_run(tmp_path, config, last=2)) == run_id
    assert client.get_run(run_id).data.tags["lmc.process"] == this_process()
    client.set_tag(run_id, "lmc.process", "elsewhere boot namespace 1 1")
    assert first.sync_train(cell, config, write_run(tmp_path, config)) == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    for metric in METRICS[:5]:
        steps = [step for step, _ in points_of(client, run_id, metric)]
        assert steps == ([1, 2, 3, 4] if metric == "train/batch_loss" else [0, 2, 4])


def test_live_syncs_are_far_between(tracker: Tracker, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config, last=0)
    tracker.sync_live(cell, config, folder, every=3600.0)
    assert counts(tracker)["runs"] == 0
    tracker.sync_live(cell, config, folder, every=0.0)
    assert counts(tracker)["runs"] == 2


@pytest.mark.parametrize("marks", [(0, 2, 4), (0, 0.5, 4)])
@pytest.mark.parametrize(
    "call", ["create_logged_model", "finalize_logged_model", "log_outputs", "log_inputs", "set_terminated"]
)
def test_a_publication_cut_short_is_completed(
    call: str, marks: tuple[float, ...], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(marks=marks)
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    config = cell.runs[0]
    folder = write_run(tmp_path, config)

    def break_down(self: MlflowClient, *args: object, **kwargs: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, call, break_down)
        open_tracker(project, plan).sync_train(cell, config, folder)
    tracker = open_tracker(project, plan)
    run_id = tracker.sync_train(cell, config, folder)
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    points = 17 if 2 in marks else 13  # steps are whole
    assert counts(tracker) == {"runs": 2, "models": 1, "points": points, "outputs": 1, "inputs": 1}
    run = tracker.runs(cell, [folder.fingerprint])[folder.fingerprint]
    for mark in marks:
        assert torch.equal(tracker.checkpoint(run, mark).tensors()["weight"], weights(config, mark)["weight"])


def test_a_diverged_run_says_so(tracker: Tracker, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    status = folder.status() | {"diverged_epoch": 3}
    folder.status_file.write_text(json.dumps(status))
    rows = list(csv.reader((folder.path / "metrics.csv").read_text().splitlines()))
    assert rows[-1][1] == "test"
    rows[-1][4] = ""  # a loss that is not finite
    (folder.path / "metrics.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    run_id = tracker.sync_train(cell, config, folder)
    client = tracker.client
    assert client.get_run(run_id).data.tags["lmc.diverged_epoch"] == "3"
    assert [step for step, _ in points_of(client, run_id, "test/loss")] == [0, 2]
    assert [step for step, _ in points_of(client, run_id, "test/error")] == [0, 2, 4]


def stored_file(project: Project, name: str) -> Path:
    [path] = (project.root / "mlartifacts").rglob(name)
    return path


def test_a_flipped_weight_is_named(tracker: Tracker, project: Project, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    tracker.sync_train(cell, config, folder)
    path = stored_file(project, "epoch-0004.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    run = tracker.runs(cell, [folder.fingerprint])[folder.fingerprint]
    tracker.checkpoint(run, 2)
    with pytest.raises(LmcError, match=r"epoch-0004\.safetensors: damaged.*delete mlflow\.db") as error:
        tracker.checkpoint(run, 4)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tracker: Tracker, project: Project, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    tracker.sync_train(cell, config, folder)
    run = tracker.runs(cell, [folder.fingerprint])[folder.fingerprint]
    stored_file(project, "epoch-0002.safetensors").unlink()
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: cannot be read.*delete mlflow\.db"):
        tracker.checkpoint(run, 2)
    with pytest.raises(LmcError, match="no checkpoint of epoch 3"):
        tracker.checkpoint(run, 3)
    stored_file(project, "status.json").unlink()
    with pytest.raises(LmcError, match=r"status\.json: cannot be read.*delete mlflow\.db"):
        tracker.runs(cell, [folder.fingerprint])


def test_a_damaged_checkpoint_is_not_published(tracker: Tracker, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    folder.checkpoint(2).write_bytes(b"no weights")
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: damaged.*run again"):
        tracker.sync_train(cell, config, folder)
    assert tracker.runs(cell, [folder.fingerprint]) == {}


def test_rows_keep_their_meaning(cell: Cell) -> None:
    from lmc_repro.tracking.content import training_points

    names = {point.name for point in training_points(make_rows(cell.runs[0], 4))}
    assert names == set(METRICS[:5])
