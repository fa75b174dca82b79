"""A store filled from files alone: complete, once, after any interruption."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from commands import lmc, refused
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from small_results import make_pair
from small_study import DIGESTS, NUMERICS, fingerprint, make_plan, open_tracker, write_run
from trained_store import write_params

from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.common.errors import Interrupted, LmcError
from lmc_repro.common.files import read_json, write_json
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Judgement
from lmc_repro.pipeline.publish import Published, publish_study
from lmc_repro.results.write import write_results
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.store import tracking_uri

ALL = 4 + 2 + 1  # trainings, pairs, the cell


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.units = 0.0

    def line(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, title: str, total: float) -> None:
        self.lines.append(title)

    def advance(self, units: float, note: str = "") -> None:
        self.units += units

    def end(self) -> None:
        pass


@pytest.fixture
def files(project: Project, plan: StudyPlan, cell: Cell) -> Project:
    """The runs of one cell and its results; no data."""
    for config in cell.runs:
        write_run(project.runs / "one", config)
    result = judge_cell([make_pair(pair) for pair in cell.pairs], Judgement(threshold=2.0), 10)
    write_results(project.results / "one", plan, {cell.key: result}, [], DIGESTS, {}, NUMERICS, "cpu")
    return project


slow = pytest.mark.slow


def publish(project: Project, plan: StudyPlan, told: Told | None = None) -> Published:
    return publish_study(project, plan, project.runs / "one", project.results / "one", told or Told())


def client(project: Project) -> MlflowClient:
    return MlflowClient(tracking_uri(project.root))


def runs_of(project: Project, kind: str) -> list[str]:
    store = client(project)
    experiments = [e.experiment_id for e in store.search_experiments() if e.name.startswith("lmc/")]
    return [run.info.run_id for run in store.search_runs(experiments, f"tags.`lmc.kind` = '{kind}'")]


def test_everything_once(files: Project, plan: StudyPlan) -> None:
    told = Told()
    assert publish(files, plan, told) == Published(ALL, 0)
    assert told.lines == ["publishing 4 runs to MLflow", "publishing 2 pairs"] and told.units == 6
    assert str(publish(files, plan)) == "published 0, there 7"
    assert [len(runs_of(files, kind)) for kind in ("train", "pair", "cell")] == [4, 2, 1]
    pair = client(files).get_run(runs_of(files, "pair")[0])
    assert pair.info.status == "FINISHED" and pair.data.metrics["barrier/test"] == 35.0
    assert pair.data.metrics["pair/disagreement_test"] == 50.0 and pair.inputs.model_inputs
    experiment = client(files).get_experiment(pair.info.experiment_id)
    assert "mlflow.sharedViewState.lmc-pairs" in experiment.tags
    assert not files.prepared.exists()


@slow
def test_it_is_what_a_comparison_would_have_logged(files: Project, plan: StudyPlan, cell: Cell) -> None:
    publish(files, plan)
    from lmc_repro.barriers.pair import pair_key

    tracker = open_tracker(files, plan)
    results = [make_pair(pair) for pair in cell.pairs]
    for result in results:
        tracker.log_pair(cell, pair_key(result.fingerprints, 3, NUMERICS), result, lambda: pytest.fail("drawn again"))
    assert not tracker.wrote(tracker.finish_cell(cell, judge_cell(results, Judgement(threshold=2.0), 10)))
    assert len(runs_of(files, "pair")) == 2


@pytest.mark.parametrize(
    "method, at, done",
    [pytest.param("sync_train", 2, 2, marks=slow), ("log_pair", 1, 5), pytest.param("finish_cell", 0, 6, marks=slow)],
)
def test_what_was_cut_off_is_completed(
    method: str, at: int, done: int, files: Project, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., str] = getattr(Tracker, method)
    calls: list[int] = []

    def cut_off(*arguments: object) -> str:
        calls.append(1)
        if len(calls) > at:
            raise Interrupted
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, method, cut_off)
        with pytest.raises(Interrupted):
            publish(files, plan)
    assert publish(files, plan) == Published(ALL - done, done)
    assert publish(files, plan) == Published(0, ALL)
    assert [len(runs_of(files, kind)) for kind in ("train", "pair", "cell")] == [4, 2, 1]


@slow
def test_what_somebody_deleted_comes_back(files: Project, plan: StudyPlan) -> None:
    publish(files, plan)
    client(files).delete_run(runs_of(files, "pair")[0])
    assert publish(files, plan) == Published(1, ALL - 1)


@slow
def test_a_changed_judgement_is_written(files: Project, plan: StudyPlan) -> None:
    publish(files, plan)
    profile = plan.profile_config
    judgement = profile.judgement.model_copy(update={"threshold": 36.0})  # of a barrier of 35
    changed = StudyPlan(
        plan.study, plan.profile, plan.study_config, profile.model_copy(update={"judgement": judgement}), plan.cells
    )
    assert publish(files, changed) == Published(1, ALL - 1)
    assert client(files).get_run(runs_of(files, "cell")[0]).data.tags["lmc.verdict.test"] == "connected"


@slow
def test_runs_without_results_are_published(files: Project, plan: StudyPlan) -> None:
    for path in (files.results / "one").iterdir():
        path.unlink()
    told = Told()
    assert publish(files, plan, told) == Published(4, 0)
    assert "no results, so no pairs and cells" in told.lines[-1]


@slow
def test_runs_of_other_settings_are_told_of(files: Project, cell: Cell) -> None:
    told = Told()
    narrow = make_plan(evaluations=(0, 4))
    with pytest.raises(LmcError, match=r"no finished run of one, profile tiny; run `dvc pull`"):
        publish(files, narrow, told)
    write_run(files.runs / "one", cell.runs[0].model_copy(update={"batch_size": 65}))
    told = Told()
    publish(files, make_plan(), told)
    assert told.lines[0].endswith("1 run of no cell of params.yaml; not published")


def test_results_of_other_runs_are_refused_before_anything_is_written(files: Project, plan: StudyPlan) -> None:
    path = files.results / "one" / "cells.json"
    cells = read_json(path, "")
    cells[0]["pairs"][1]["fingerprints"][0] = "0" * 16
    write_json(path, cells)
    with pytest.raises(LmcError, match=r"cells\.json: cell deep--fast, pair 1, is of runs 0{16} and \w{16}, which"):
        publish(files, plan)
    runs = files.results / "one" / "runs.json"
    write_json(runs, read_json(runs, "") | {"evaluation_numerics": 0})
    with pytest.raises(LmcError, match=r"evaluation numerics: found \('tiny', 3, 0\), allowed: \('tiny', 3, \d\)"):
        publish(files, plan)
    assert runs_of(files, "train") == []


def test_a_damaged_run_is_refused(files: Project, plan: StudyPlan, cell: Cell) -> None:
    path = files.runs / "one" / fingerprint(cell.runs[1]) / "metrics.csv"
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(LmcError, match=r"metrics\.csv: damaged"):
        publish(files, plan)


@slow
def test_the_command(files: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(files)
    monkeypatch.chdir(files.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "kept by monkeypatch")
    (files.root / "other.db").write_bytes((files.root / "mlflow.db").read_bytes())
    uri = f"sqlite:///{files.root}/other.db"
    assert lmc("publish", "one", "--tracking-uri", uri)[:2] == (0, "published 7, there 0\n")
    assert refused("publish", "two").startswith(f"{files.root / 'out/tiny/two/runs'}: ")
    assert json.loads((files.results / "one/runs.json").read_text())["study"] == "one"


@slow
@pytest.mark.parametrize("call", ["log_inputs", "set_experiment_tag"])
@pytest.mark.parametrize(("words", "tries"), [("(sqlite3.IntegrityError) UNIQUE constraint failed", 3), ("other", 1)])
def test_a_row_that_another_client_inserted_just_now_is_found(
    call: str, words: str, tries: int, files: Project, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left, tried = getattr(MlflowClient, call), [words] * 2, 0

    def refuse(*arguments: object, **named: object) -> None:
        nonlocal tried
        tried += 1
        if left:
            raise MlflowException(left.pop(), BAD_REQUEST)
        real(*arguments, **named)

    monkeypatch.setattr(MlflowClient, call, refuse)
    if words == "other":
        with pytest.raises(LmcError):
            publish(files, plan)
        assert tried == tries
        return
    assert publish(files, plan) == Published(ALL, 0)
    assert tried >= tries and not left
