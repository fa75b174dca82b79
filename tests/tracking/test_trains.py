from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from small_results import Small
from small_study import DIGESTS, fingerprint, make_plan, weights, write_run

from lmc_repro.common.errors import LmcError
from lmc_repro.common.locks import this_process
from lmc_repro.common.project import Project
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.find import TrackedRun

ERRORS = ("train/error", "train/loss", "test/error", "test/loss")


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


def steps(small: Small, run_id: str) -> dict[str, list[int]]:
    return {name: [s for s, _ in small.points(run_id, name)] for name in (*ERRORS, "train/batch_loss")}


EVERY_STEP = {name: [0, 2, 4] for name in ERRORS} | {"train/batch_loss": [1, 2, 3, 4]}


def tracked(small: Small, tracker: Tracker | None = None) -> TrackedRun:
    return (tracker or small.tracker).runs(small.cell, [fingerprint(small.config)])[fingerprint(small.config)]


def test_a_complete_run_is_published_with_its_numbers(small: Small) -> None:
    small.config = config = small.cell.runs[1]
    run_id = small.sync()
    run = small.run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "seeds 0-1 fast deep"
    assert small.points(run_id, "train/error") == [(e, (800 - 100 * e) * (100 / 899)) for e in (0, 2, 4)]
    assert small.points(run_id, "test/loss") == [(e, 1.5 / (1 + e)) for e in (0, 2, 4)]
    assert small.points(run_id, "train/batch_loss") == [(e, 2.0 / e + 1) for e in (1, 2, 3, 4)]
    start, end = weights(config, 0), weights(config, 4)
    distance = sum(((end[name].double() - start[name].double()) ** 2).sum() for name in start) ** 0.5
    assert small.points(run_id, "weights/distance_from_init") == [(4, float(distance))]
    assert run.data.metrics.keys() == {*ERRORS, "train/batch_loss", "weights/distance_from_init"}
    expected = {"cell": "deep--fast", "optimizer.lr": "0.1", "seeds.loader": "1", "model.bias": "true", "study": "one"}
    assert expected.items() <= run.data.params.items()
    tags = run.data.tags
    said = {"fingerprint": fingerprint(config), "data_digest": DIGESTS["digits"], "order_sha256": f"{1:064x}"}
    assert {f"lmc.{name}": value for name, value in said.items()}.items() <= tags.items()
    assert tags["mlflow.note.content"].splitlines() == [
        "- seeds: trainer 0, loader 1",
        f"- epoch 4: test error {100 * 401 / 898:.2f} %, train error {100 * 400 / 899:.2f} %",
        f"- fingerprint {fingerprint(config)}",
    ]
    assert "lmc.diverged_epoch" not in tags
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", DIGESTS["digits"][:36])
    parent = small.run(tags["mlflow.parentRunId"])
    assert parent.data.tags["lmc.kind"] == "cell"
    assert parent.info.run_name == "fast deep"
    assert parent.data.params["optimizer.lr"] == "0.1"
    assert "seeds.loader" not in parent.data.params


def test_the_last_checkpoint_is_a_logged_model_and_earlier_ones_are_files(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = small.sync()
    folder = write_run(small.runs, small.config)
    [output] = small.run(run_id).outputs.model_outputs
    model = small.client.get_logged_model(output.model_id)
    assert (output.step, str(model.status)) == (4, "READY")
    assert (model.model_type, model.source_run_id) == ("lmc-checkpoint", run_id)
    assert model.params == {"epoch": "4"}
    assert model.tags["lmc.sha256"] == folder.status()["checkpoints"]["4"]
    ids = small.tracker.run_ids()
    query = f"params.epoch = '4' and source_run_id = '{run_id}'"
    found = small.client.search_logged_models([ids["experiment_id"]], filter_string=query)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ids["uri"])
    path = Path(download_artifacts(f"models:/{found[0].model_id}"))
    assert (path / "epoch-0004.safetensors").read_bytes() == folder.checkpoint(4).read_bytes()
    earlier = Path(download_artifacts(f"runs:/{run_id}/checkpoints"))
    stored = {file.name: file.read_bytes() for file in earlier.iterdir()}
    assert stored == {f"epoch-{epoch:04d}.safetensors": folder.checkpoint(epoch).read_bytes() for epoch in (0, 2)}


def test_weights_come_back_bit_for_bit(small: Small) -> None:
    small.sync()
    found = small.tracker.runs(small.cell, [fingerprint(run) for run in small.cell.runs])
    assert list(found) == [fingerprint(small.config)]
    run = found[fingerprint(small.config)]
    assert run.status["diverged_epoch"] is None
    for epoch in (0, 2, 4):
        back, expected = small.tracker.checkpoint(run, epoch).tensors(), weights(small.config, epoch)
        assert back.keys() == expected.keys()
        assert all(torch.equal(back[name], expected[name]) for name in expected)


def test_publishing_again_adds_nothing(small: Small) -> None:
    folders = {config: write_run(small.runs, config) for config in small.cell.runs[:2]}

    def sync(tracker: Tracker) -> list[str]:
        return [tracker.sync_train(small.cell, config, folder) for config, folder in folders.items()]

    first, before = sync(small.tracker), counts(small.tracker)
    assert before == {"runs": 3, "models": 2, "points": 34, "outputs": 2, "inputs": 2}
    assert sync(small.tracker) == sync(other := small.open()) == first
    assert counts(other) == before


def test_live_interrupted_and_complete(small: Small) -> None:
    with small.open() as tracker:
        run_id = small.sync(tracker, last=0)
        assert small.run(run_id).info.status == "RUNNING"
        assert small.points(run_id, "train/loss") == [(0, 1.0)]
        assert small.sync(tracker, last=2) == run_id
        assert small.points(run_id, "train/batch_loss") == [(1, 2.0), (2, 1.0)]
        assert tracker.runs(small.cell, [fingerprint(small.config)]) == {}
    assert small.run(run_id).info.status == "KILLED"
    with small.open() as tracker:
        assert small.sync(tracker, last=2) == run_id
        assert small.run(run_id).info.status == "RUNNING"
        assert small.sync(tracker) == run_id
    assert small.run(run_id).info.status == "FINISHED"
    assert steps(small, run_id) == EVERY_STEP
    assert counts(small.tracker) == {"runs": 2, "models": 1, "points": 17, "outputs": 1, "inputs": 1}


def test_a_run_that_another_process_went_on_with_is_taken_over(small: Small) -> None:
    """Of two trackers that both saw it begin, each logs what the store lacks then, not what it knew."""
    first = small.tracker
    run_id = small.sync(first, last=0)
    small.client.set_tag(run_id, "lmc.process", "elsewhere boot namespace 1 1")  # as another process leaves it
    assert small.sync(small.open(), last=2) == run_id
    assert small.run(run_id).data.tags["lmc.process"] == this_process()
    small.client.set_tag(run_id, "lmc.process", "elsewhere boot namespace 1 1")
    assert small.sync(first) == run_id
    assert small.run(run_id).info.status == "FINISHED"
    assert steps(small, run_id) == EVERY_STEP


def test_live_syncs_are_far_between(small: Small) -> None:
    folder = write_run(small.runs, small.config, last=0)
    for every, runs in ((3600.0, 0), (0.0, 2)):
        small.tracker.sync_live(small.cell, small.config, folder, every=every)
        assert counts(small.tracker)["runs"] == runs


@pytest.mark.parametrize("evaluations", [(0, 2, 4), pytest.param((0, 0.5, 4), marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "call", ["create_logged_model", "finalize_logged_model", "log_outputs", "log_inputs", "set_terminated"]
)
def test_a_publication_cut_short_is_completed(
    call: str, evaluations: tuple[float, ...], small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.plan = make_plan(evaluations=evaluations)
    small.cell = next(cell for cell in small.plan.cells if cell.key == "deep--fast")

    def break_down(self: MlflowClient, *args: object, **kwargs: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, call, break_down)
        small.sync(small.open())
    assert small.run(small.sync()).info.status == "FINISHED"
    points = 17 if 2 in evaluations else 13  # steps are whole
    assert counts(small.tracker) == {"runs": 2, "models": 1, "points": points, "outputs": 1, "inputs": 1}
    run = tracked(small)
    for epoch in evaluations:
        back = small.tracker.checkpoint(run, epoch).tensors()
        assert torch.equal(back["weight"], weights(small.config, epoch)["weight"])


def test_a_diverged_run_says_so(small: Small) -> None:
    folder = write_run(small.runs, small.config)
    folder.status_file.write_text(json.dumps(folder.status() | {"diverged_epoch": 3}))
    rows = list(csv.reader((folder.path / "metrics.csv").read_text().splitlines()))
    assert rows[-1][1] == "test"
    rows[-1][4] = ""  # a loss that is not finite
    (folder.path / "metrics.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    run_id = small.tracker.sync_train(small.cell, small.config, folder)
    assert small.run(run_id).data.tags["lmc.diverged_epoch"] == "3"
    assert steps(small, run_id) == EVERY_STEP | {"test/loss": [0, 2]}


def stored_file(project: Project, name: str) -> Path:
    [path] = (project.root / "mlartifacts").rglob(name)
    return path


def test_a_flipped_weight_is_named(small: Small) -> None:
    small.sync()
    path = stored_file(small.project, "epoch-0004.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    run = tracked(small)
    small.tracker.checkpoint(run, 2)
    with pytest.raises(LmcError, match=r"epoch-0004\.safetensors: damaged.*delete mlflow\.db") as error:
        small.tracker.checkpoint(run, 4)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(small: Small) -> None:
    small.sync()
    run = tracked(small)
    stored_file(small.project, "epoch-0002.safetensors").unlink()
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: cannot be read.*delete mlflow\.db"):
        small.tracker.checkpoint(run, 2)
    with pytest.raises(LmcError, match="no checkpoint of epoch 3"):
        small.tracker.checkpoint(run, 3)
    stored_file(small.project, "status.json").unlink()
    with pytest.raises(LmcError, match=r"status\.json: cannot be read.*delete mlflow\.db"):
        tracked(small)


def test_a_damaged_checkpoint_is_not_published(small: Small) -> None:
    folder = write_run(small.runs, small.config)
    folder.checkpoint(2).write_bytes(b"no weights")
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: damaged.*run again"):
        small.tracker.sync_train(small.cell, small.config, folder)
    assert small.tracker.runs(small.cell, [folder.fingerprint]) == {}
