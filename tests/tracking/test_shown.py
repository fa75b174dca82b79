from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_results import make_pair
from small_study import open_tracker

from lmc_repro.errors import LmcError
from lmc_repro.project import Project
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.tracking.ui import VIEW
from lmc_repro.tracking.views import find_shown


def publish(project: Project, plan: StudyPlan) -> dict[str, dict[str, str]]:
    """One pair a cell, and one of `deep--fast` that did not train, by cell and pair."""
    tracker = open_tracker(project, plan)
    found: dict[str, dict[str, str]] = {}
    for number, cell in enumerate(plan.cells):
        result = make_pair(cell.pairs[0])
        found[cell.key] = {"0": tracker.log_pair(cell, f"{number:016d}", result, dict)}
        if cell.key == "deep--fast":
            found[cell.key]["1"] = tracker.log_pair(cell, "f" * 16, make_pair(cell.pairs[1], trained=False), dict)
    tracker.close()
    return found


def test_pairs_are_found_and_narrowed(project: Project, plan: StudyPlan) -> None:
    runs = publish(project, plan)
    uri, (shown,) = find_shown(project, None, None, None)
    assert uri == f"sqlite:///{project.root}/mlflow.db"
    assert shown.name == "lmc/one/tiny"
    assert set(shown.pairs) == {run for pairs in runs.values() for run in pairs.values()}
    assert shown.pairs[-1] == runs["deep--fast"]["1"]  # no barrier
    deep = find_shown(project, "one", "deep", None)[1][0].pairs
    assert set(deep) == {*runs["deep--fast"].values(), *runs["deep--slow"].values()}
    assert find_shown(project, "one", "deep", "slow")[1][0].pairs == (runs["deep--slow"]["0"],)


def test_a_view_that_is_missing_is_set(project: Project, plan: StudyPlan) -> None:
    ids = open_tracker(project, plan).run_ids()
    client = MlflowClient(ids["uri"])
    client.delete_experiment_tag(ids["experiment_id"], VIEW)
    find_shown(project, "one", None, None)
    assert VIEW in client.get_experiment(ids["experiment_id"]).tags


def test_what_is_not_there_is_one_line(project: Project, plan: StudyPlan, tmp_path: Path) -> None:
    with pytest.raises(LmcError, match=r"holds no study; run `dvc repro` or `lmc run table1` first$"):
        find_shown(project, None, None, None)
    publish(project, plan)
    with pytest.raises(LmcError, match=r"^STUDY: found 'three', the store holds: one$"):
        find_shown(project, "three", None, None)
    with pytest.raises(LmcError, match=r"^--row: found 'x', the pairs have: deep, shallow$"):
        find_shown(project, "one", "x", None)
    with pytest.raises(LmcError, match=r"^--column: found 'x', the pairs have: fast, slow$"):
        find_shown(project, "one", None, "x")
    empty = Project(tmp_path / "empty")
    with pytest.raises(LmcError, match=r"empty/mlflow\.db: no MLflow store here yet; run `dvc repro`"):
        find_shown(empty, None, None, None)
    assert not empty.root.exists()
