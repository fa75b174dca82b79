"""`lmc run` publishes in a thread: training never waits for MLflow, and a store that fails costs one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient
from small_study import make_plan
from toy_engine import Here
from trained_store import write_prepared

from lmc_repro.common.errors import LmcError
from lmc_repro.common.progress import Lines
from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine.protocol import Ended
from lmc_repro.pipeline import train
from lmc_repro.pipeline.compare import compare_study
from lmc_repro.pipeline.publish import publish_study
from lmc_repro.pipeline.workspace import Workspace
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.store import tracking_uri
from lmc_repro.training.run_folder import Keep
from lmc_repro.training.trainer import Event


class Told(Here):
    """The toy engine, which notes the end of each stack."""

    def __init__(self, happened: list[str], trained: threading.Event) -> None:
        super().__init__()
        self.happened, self.trained = happened, trained

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        for event in super().poll(timeout):
            if isinstance(event, Ended):
                self.happened.append("trained")
            yield event

    def stop(self) -> None:
        super().stop()
        self.trained.set()


def workspace(project: Project, digits: Dataset, engine: Here) -> Workspace:
    write_prepared(project, digits)
    places = (project.runs / "one", project.results / "one", project.prepared)
    return Workspace(project, make_plan(), *places, 1, "cpu", "portable", Lines(), engine=engine)


def test_training_does_not_wait_for_a_slow_store(
    project: Project, digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that answers only when the last stack is trained is filled all the same."""
    happened: list[str] = []
    trained = threading.Event()
    real = Tracker.sync_train

    def slow(*arguments: Any) -> str:
        assert trained.wait(60)
        happened.append("published")
        return real(*arguments)

    monkeypatch.setattr(Tracker, "sync_train", slow)
    monkeypatch.setattr(train, "BEHIND", 3)
    w = workspace(project, digits, Told(happened, trained))
    counts = train.train_study(w)
    first = happened.index("published")
    assert set(happened[:first]) == {"trained"} and set(happened[first:]) == {"published"}
    assert len(happened[first:]) == counts.trained == 16
    assert sum("runs wait for it" in line for line in capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(Tracker, "sync_train", real)
    assert publish_study(project, w.plan, w.runs, w.results, Lines()).there == 16


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "tag", "left"), [("last", "last kept", {4}), ("none", "not kept", set[int]())])
def test_weights_that_are_not_kept_are_not_published(
    keep: Keep, tag: str, left: set[int], project: Project, digits: Dataset
) -> None:
    """Paths are measured at all evaluation epochs; a tag says which weights are there; keeping all brings them back."""
    w = workspace(project, digits, Here())
    client = MlflowClient(tracking_uri(project.root))
    for kept, epochs in ((keep, left), ("all", {0, 2, 4})):
        now = replace(w, keep=kept)
        train.train_study(now)
        compare_study(now)
        weights = {path.name for path in (project.root / "mlartifacts").rglob("*.safetensors")}
        assert weights == {f"epoch-000{epoch}.safetensors" for epoch in epochs}
        (experiment,) = client.search_experiments(filter_string="name = 'lmc/one/tiny'")
        trainings = client.search_runs([experiment.experiment_id], "tags.`lmc.kind` = 'train'")
        assert len(trainings) == 16
        assert {run.data.tags.get("lmc.weights") for run in trainings} == {None if kept == "all" else tag}
        for pair in client.search_runs([experiment.experiment_id], "tags.`lmc.kind` = 'pair'"):
            ends = client.get_run(pair.info.run_id).inputs.model_inputs
            assert pair.info.status == "FINISHED" and len(ends) == (0 if kept == "none" else 2)


def test_a_store_that_fails_costs_one_line_and_no_run(
    project: Project, digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, left = Tracker.sync_train, 2

    def failing(*arguments: Any) -> str:
        nonlocal left
        if not left:
            raise LmcError("the store is gone")
        left -= 1
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "sync_train", failing)
        w = workspace(project, digits, Here())
        assert train.train_study(w).trained == 16
    assert [line for line in capsys.readouterr().err.splitlines() if "the store is gone" in line] == [
        "tracking: MLflow could not be written (the store is gone); training goes on, `lmc compare` publishes it"
    ]
    found = publish_study(project, w.plan, w.runs, w.results, Lines())
    assert (found.published, found.there) == (14, 2)
