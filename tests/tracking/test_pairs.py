from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_results import Small, make_pair
from small_study import fingerprint, write_run

FIGURES = {"path.png": b"a picture", "path.svg": b"<svg/>"}


def no_figures() -> dict[str, bytes]:
    raise AssertionError("drawn for a pair that is there already")


def test_a_pair_is_read_back_exactly(small: Small) -> None:
    tracker, cell = small.tracker, small.cell
    pair = cell.pairs[1]
    trains = [tracker.sync_train(cell, config, write_run(small.runs, config)) for config in pair.runs]
    run_id = tracker.log_pair(cell, "a" * 16, make_pair(pair), lambda: FIGURES)
    client = tracker.client
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "pair 1 fast deep"
    assert small.points(run_id, "path/alpha") == [(0, 0.0), (500, 0.5), (1000, 1.0)]
    assert small.points(run_id, "path/train_error") == [(0, 10.0), (500, 40.0), (1000, 20.0)]
    assert small.points(run_id, "path/train_excess") == [(0, 0.0), (500, 25.0), (1000, 0.0)]
    assert small.points(run_id, "path/test_error") == [(0, 10.0), (500, 50.0), (1000, 20.0)]
    assert small.points(run_id, "path/train_loss") == [(0, 0.5), (500, 1.5)]
    assert small.points(run_id, "barrier_over_training/test") == [(0, 34.25), (2, 34.75), (4, 35.0)]
    expected = {
        "barrier/train": 25.0,
        "barrier/train_floor": 5.0,
        "barrier/train_line": 25.0,
        "barrier/train_mid_signed": 25.0,
        "barrier/train_argmax_alpha": 0.5,
        "barrier/train_error_0": 10.0,
        "barrier/train_error_1": 20.0,
        "barrier/train_norm_pct": 25.0 / 0.85,
        "barrier/train_norm_own_pct": 25.0 / 0.85,
        "barrier/test": 35.0,
        "barrier/test_norm_pct": 35.0 / 0.85,
        "barrier/test_norm_chance_pct": 35.0 / 0.75,
        "barrier/test_loss": 0.375,
        "barrier/test_loss_floor": 0.125,
        "pair/distance": 3.5,
        "pair/disagreement_train": 25.0,
        "pair/disagreement_test": 50.0,
    }
    found = {name: run.data.metrics[name] for name in expected}
    assert found == pytest.approx(expected, rel=1e-12)
    assert found["barrier/train"] == 25.0
    assert "pair/cosine" not in run.data.metrics  # not finite
    assert not any(name.startswith("barrier/train_loss") for name in run.data.metrics)
    tags = run.data.tags
    assert (tags["lmc.status_0"], tags["lmc.status_1"]) == ("trained", "trained")
    assert [tags["lmc.fingerprint_0"], tags["lmc.fingerprint_1"]] == [fingerprint(config) for config in pair.runs]
    assert tags["mlflow.parentRunId"] == client.get_run(trains[0]).data.tags["mlflow.parentRunId"]
    assert tags["mlflow.runColor"] == client.get_run(trains[0]).data.tags["mlflow.runColor"]
    ends = fingerprint(pair.runs[0]), fingerprint(pair.runs[1])
    assert tags["mlflow.note.content"].splitlines() == [
        "- train: barrier **25.00** at alpha 0.5, line 25.00, normalised 29.41 %",
        "- test: barrier **35.00** at alpha 0.5, line 35.00, normalised 41.18 %",
        *(f"- theta_{i}: run {end}, epoch 4, trained" for i, end in enumerate(ends)),
    ]
    wanted = {"pair": "1", "seeds.trainer": "1", "seeds.loader": "2 3", "optimizer.lr": "0.1", "cell": cell.key}
    assert wanted.items() <= run.data.params.items()
    ends = {o.model_id for t in trains for o in client.get_run(t).outputs.model_outputs if o.step == 4}
    assert {model.model_id for model in run.inputs.model_inputs} == ends
    assert len(ends) == 2


def test_the_files_of_a_pair(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = small.tracker.log_pair(small.cell, "a" * 16, make_pair(small.cell.pairs[0]), lambda: FIGURES)
    client, ids = small.client, small.tracker.run_ids()
    assert sorted(file.path for file in client.list_artifacts(run_id)) == ["path.json", "path.png", "path.svg"]
    assert Path(client.download_artifacts(run_id, "path.png")).read_bytes() == b"a picture"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ids["uri"])
    table = client.load_table(ids["experiment_id"], artifact_file="path.json", run_ids=[run_id])
    assert list(table["alpha"]) == [0.0, 0.5, 1.0]
    assert list(table["test_wrong"]) == [20, 100, 40]
    assert list(table["test_n"]) == [200, 200, 200]
    raw = json.loads(Path(client.download_artifacts(run_id, "path.json")).read_text())
    assert raw["data"][2][raw["columns"].index("train_loss")] is None


def test_a_pair_is_logged_once(small: Small) -> None:
    run_id = small.pair()
    result = make_pair(small.cell.pairs[0])
    for tracker in (small.tracker, small.open()):
        assert tracker.log_pair(small.cell, "a" * 16, result, no_figures) == run_id
    assert len(small.found("pair")) == 1
    assert len(small.points(run_id, "path/test_error")) == 3
    assert small.tracker.log_pair(small.cell, "b" * 16, make_pair(small.cell.pairs[1]), dict) != run_id


def test_a_pair_without_a_description_gets_one_in_place(small: Small) -> None:
    run_id = small.pair()
    note = small.run(run_id).data.tags["mlflow.note.content"]
    small.client.delete_tag(run_id, "mlflow.note.content")
    assert small.pair(small.open()) == run_id
    assert small.run(run_id).data.tags["mlflow.note.content"] == note
    small.client.set_tag(run_id, "mlflow.note.content", "by hand")
    assert small.pair(small.open()) == run_id
    assert small.run(run_id).data.tags["mlflow.note.content"] == "by hand"


def test_a_pair_that_is_judged_otherwise_is_replaced(small: Small) -> None:
    old, new = small.pair(), small.pair(trained=False)
    assert new != old
    assert [run.info.run_id for run in small.found("pair")] == [new]
    run = small.run(new)
    assert run.data.tags["lmc.status_1"] == "diverged"
    assert not any(name.startswith("barrier/") for name in run.data.metrics)
    assert small.points(new, "barrier_over_training/train") == [(0, 25.0), (2, 25.0)]
    assert small.points(new, "path/test_error") == [(0, 10.0), (500, 50.0), (1000, 20.0)]


def test_a_pair_cut_short_is_made_anew(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, "set_terminated", break_down)
        small.pair(small.open())
    run_id = small.pair()
    assert [(run.info.run_id, run.info.status) for run in small.found("pair")] == [(run_id, "FINISHED")]
