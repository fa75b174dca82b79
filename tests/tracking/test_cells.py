from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from small_results import make_cell
from small_study import open_tracker

from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking import Tracker, cell_identity
from lmc_repro.tracking.content import TAG_LIMIT, provenance_tag
from lmc_repro.tracking.store import tracking_uri


def read(tracker: Tracker, run_id: str) -> Run:
    return tracker.client.get_run(run_id)


def values(tracker: Tracker, run_id: str, metric: str) -> list[tuple[int, float]]:
    points = tracker.client.get_metric_history(run_id, metric)
    return [(point.step, point.value) for point in sorted(points, key=lambda p: (p.step, p.timestamp))]


def test_a_cell_is_read_back_exactly(tracker: Tracker, cell: Cell) -> None:
    run = read(tracker, tracker.finish_cell(cell, make_cell(cell)))
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "fast deep"
    expected = {"n": 2.0, "mean": 3.0, "median": 3.0, "min": 2.0, "max": 4.0, "line_mean": 2.5, "norm_pct_mean": 3.25}
    for split in ("train", "test"):
        found = {n: v for n, v in run.data.metrics.items() if n.startswith(f"barrier/{split}")}
        assert found == {f"barrier/{split}_{name}": value for name, value in expected.items()}  # no sd of two
        assert values(tracker, run.info.run_id, f"barrier_over_training/{split}_mean") == [(2, 1.5), (4, 3.0)]
    assert cell.paper is not None
    assert (run.data.metrics["paper/test"], run.data.metrics["paper/train"]) == (
        cell.paper["test"],
        cell.paper["train"],
    )
    assert run.data.params["paper.test"] == str(cell.paper["test"])
    assert run.data.params["optimizer.lr"] == "0.1"
    tags = run.data.tags
    assert tags["lmc.verdict.test"] == "disconnected"
    assert tags["lmc.verdict_strict.train"] == "mixed"
    assert tags["lmc.flags.test"] == "provisional unstable"
    assert tags["lmc.cell_id"] == cell_identity(cell, "d" * 64, "portable")
    assert "| test | 3.00 | 2.50 | 3.00 | 2.00 to 4.00 | 2 | disconnected |" in tags["mlflow.note.content"]
    assert json.loads(tags["lmc.provenance"]) == {
        "settings.model.width": "ours: small",
        "settings.epochs": "ours: small",
        "settings.evaluate_at": "ours: small",
        "optimizers.fast.kind": "inferred: a guess",
        "optimizers.fast.lr": "paper: Table 1",
        "optimizers.fast.momentum": "inferred: a guess",
        "batches.1K": "ours: small",
        "judgement.threshold": "cited: somebody",
        "judgement.min_train_accuracy": "cited: somebody",
    }


def test_unequal_ends_are_found_by_the_words_of_the_verdict(tracker: Tracker, cell: Cell, project: Project) -> None:
    result = make_cell(cell)
    test = replace(result.summary["test"], line_mean=0.11, verdict="unequal ends", flags=("nothing_to_lose",))
    run_id = tracker.finish_cell(cell, replace(result, summary={**result.summary, "test": test}))
    client = MlflowClient(tracking_uri(project.root))
    experiments = [read(tracker, run_id).info.experiment_id]
    for query, count in (("= 'unequal ends'", 1), ("= 'disconnected'", 0)):
        found = client.search_runs(experiments, f"tags.`lmc.verdict.test` {query}")
        assert [run.info.run_id for run in found] == [run_id] * count
    assert read(tracker, run_id).data.metrics["barrier/test_line_mean"] == 0.11
    assert "| 0.11 |" in read(tracker, run_id).data.tags["mlflow.note.content"]


def test_a_cell_without_the_papers_number(tracker: Tracker, plan: StudyPlan) -> None:
    cell = next(cell for cell in plan.cells if cell.key == "deep--slow")
    assert cell.paper is None
    run = read(tracker, tracker.finish_cell(cell, make_cell(cell)))
    assert not [name for name in (*run.data.metrics, *run.data.params) if name.startswith("paper")]


def test_the_same_summary_adds_no_point(tracker: Tracker, project: Project, plan: StudyPlan, cell: Cell) -> None:
    run_id = tracker.finish_cell(cell, make_cell(cell))
    assert tracker.finish_cell(cell, make_cell(cell)) == run_id
    other = open_tracker(project, plan)
    assert other.finish_cell(cell, make_cell(cell)) == run_id
    assert values(other, run_id, "barrier/test_mean") == [(0, 3.0)]
    assert values(other, run_id, "barrier_over_training/test_mean") == [(2, 1.5), (4, 3.0)]


def test_another_summary_is_what_the_store_shows(
    tracker: Tracker, project: Project, plan: StudyPlan, cell: Cell
) -> None:
    run_id = tracker.finish_cell(cell, make_cell(cell, 3.0))
    assert open_tracker(project, plan).finish_cell(cell, make_cell(cell, 1.0)) == run_id
    run = read(tracker, run_id)
    assert run.data.metrics["barrier/test_mean"] == 1.0  # though the old one is larger
    assert values(tracker, run_id, "barrier/test_mean") == [(0, 3.0), (0, 1.0)]
    assert values(tracker, run_id, "barrier/test_line_mean") == [(0, 2.5)]
    assert values(tracker, run_id, "barrier_over_training/test_mean") == [(2, 1.5), (4, 3.0), (4, 1.0)]
    assert run.info.status == "FINISHED"


def test_numbers_that_are_gone_become_nan(tracker: Tracker, cell: Cell) -> None:
    run_id = tracker.finish_cell(cell, make_cell(cell, 3.0))
    for _ in range(2):
        tracker.finish_cell(cell, make_cell(cell, None))
    run = read(tracker, run_id)
    assert math.isnan(run.data.metrics["barrier/test_mean"])
    assert run.data.metrics["barrier/test_n"] == 0.0
    assert run.data.tags["lmc.verdict.test"] == "none"
    assert len(values(tracker, run_id, "barrier/test_mean")) == 2
    tracker.finish_cell(cell, make_cell(cell, 3.0))
    assert read(tracker, run_id).data.metrics["barrier/test_mean"] == 3.0


@pytest.mark.parametrize(
    ("data", "numerics", "change"),
    [
        ("e" * 64, "portable", {}),
        ("d" * 64, "native:AVX2", {}),
        ("d" * 64, "portable", {"key": "deep--slow"}),
        ("d" * 64, "portable", {"config": {"epochs": 5}}),
    ],
)
def test_the_identity_of_a_cell(cell: Cell, data: str, numerics: str, change: dict[str, object]) -> None:
    same = cell_identity(cell, "d" * 64, "portable")
    assert same == cell_identity(replace(cell, pairs=cell.pairs[:1]), "d" * 64, "portable")
    assert cell_identity(replace(cell, **change), data, numerics) != same  # type: ignore[arg-type]


def test_a_long_provenance_is_not_cut_in_the_middle(plan: StudyPlan, cell: Cell) -> None:
    long = plan.profile_config.model_copy(
        update={"provenance": {**plan.profile_config.provenance, "settings": f"ours: {'x' * 4000}"}}
    )
    tag = provenance_tag(long, cell)
    assert len(tag) <= TAG_LIMIT
    assert json.loads(tag)["settings.model.width"] == "ours"
