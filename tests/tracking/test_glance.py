from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from small_results import make_pair
from small_study import make_plan, open_tracker, write_run

from lmc_repro.project import Project
from lmc_repro.schemas.plan import Cell, StudyPlan
from lmc_repro.tracking.glance import Glance
from lmc_repro.tracking.index import StoredRun

QUERY = "INSERT INTO tags VALUES ('lmc.fingerprint', ?, ?)"


def test_it_tells_what_is_not_there_and_sees_what_others_commit(empty_store: Path, tmp_path: Path) -> None:
    database = tmp_path / "100% a?store.db"
    database.write_bytes(empty_store.read_bytes())
    glance = Glance(database)
    assert not glance.may_hold("lmc.fingerprint", "a")
    with closing(sqlite3.connect(database)) as other:
        other.execute(QUERY, ("a", "run 1"))
        assert not glance.may_hold("lmc.fingerprint", "a")
        other.commit()
    assert glance.may_hold("lmc.fingerprint", "a")
    assert not glance.may_hold("lmc.fingerprint", "b")
    assert not glance.may_hold("lmc.pair_key", "a")
    glance.close()
    assert glance.may_hold("lmc.fingerprint", "a")
    glance.close()


def test_what_it_cannot_read_may_hold_anything(tmp_path: Path) -> None:
    assert Glance(None).may_hold("lmc.fingerprint", "a")
    assert Glance(tmp_path / "none.db").may_hold("lmc.fingerprint", "a")
    assert not (tmp_path / "none.db").exists()
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE labels (key, value)")
    glance = Glance(tmp_path / "other.db")
    assert glance.may_hold("lmc.fingerprint", "a")
    glance.close()


def test_new_runs_are_made_without_a_search(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_tracker(project, make_plan("two")).close()  # there is another experiment to search through
    pair = cell.pairs[0]
    with open_tracker(project, plan) as tracker:
        tracker.sync_train(cell, pair.runs[0], write_run(tmp_path, pair.runs[0]))  # and the cell
        searched: list[str] = []
        search = MlflowClient.search_runs

        def counting(client: MlflowClient, experiments: list[str], query: str, **rest: object) -> object:
            searched.append(query)
            return search(client, experiments, query, **rest)

        monkeypatch.setattr(MlflowClient, "search_runs", counting)
        tracker.sync_train(cell, pair.runs[1], write_run(tmp_path, pair.runs[1]))
        tracker.log_pair(cell, "a" * 16, make_pair(pair), dict)
        assert searched == []


def test_what_another_process_made_meanwhile_is_found(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    pair = cell.pairs[0]
    folders = [write_run(tmp_path, config) for config in pair.runs]
    with open_tracker(project, plan) as first, open_tracker(project, plan) as second:
        for one, other in ((first, second), (second, first)):  # each has asked before the other writes
            i = int(one is second)
            assert one.sync_train(cell, pair.runs[i], folders[i]) == other.sync_train(cell, pair.runs[i], folders[i])
        assert first.log_pair(cell, "a" * 16, make_pair(pair), dict) == second.log_pair(
            cell, "a" * 16, make_pair(pair), dict
        )
        client, experiment = MlflowClient(first.run_ids()["uri"]), first.run_ids()["experiment_id"]
        kinds = sorted(run.data.tags["lmc.kind"] for run in client.search_runs([experiment]))
        assert kinds == ["cell", "pair", "train", "train"]


def test_runs_with_a_tag_come_oldest_first_without_deleted_ones_and_other_experiments(
    project: Project, plan: StudyPlan
) -> None:
    tracker, other = open_tracker(project, plan), open_tracker(project, make_plan("two"))
    client, here = MlflowClient(tracker.run_ids()["uri"]), tracker.run_ids()["experiment_id"]
    made = [
        client.create_run(where, start_time=start, tags={"lmc.cell_id": cell}).info.run_id
        for where, start, cell in (
            (here, 30, "a"),
            (here, 10, "b"),
            (here, 20, "c"),
            (other.run_ids()["experiment_id"], 5, "a"),
            (here, 1, "a"),
        )
    ]
    client.delete_run(made[4])
    glance = Glance(project.root / "mlflow.db")
    assert glance.runs_with(here, "lmc.cell_id", {"a", "b"}) == [made[1], made[0]]
    assert glance.runs_with(here, "lmc.cell_id", set()) == []
    assert Glance(None).runs_with(here, "lmc.cell_id", {"a"}) is None
    assert Glance(project.root / "none.db").runs_with(here, "lmc.cell_id", {"a"}) is None
    glance.close()


def test_a_study_narrowed_to_a_cell_loads_that_cell_s_runs_alone(
    project: Project, plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {}
    with open_tracker(project, plan) as tracker:
        for cell in plan.cells:
            folders[cell.key] = write_run(tmp_path, cell.runs[0])
            tracker.sync_train(cell, cell.runs[0], folders[cell.key])
    loaded: list[str] = []
    made = StoredRun.of

    def counting(run: Run) -> StoredRun:
        loaded.append(run.info.run_id)
        return made(run)

    monkeypatch.setattr(StoredRun, "of", counting)
    chosen = plan.cells[1]
    with open_tracker(project, replace(plan, cells=(chosen,))) as tracker:
        assert len(set(loaded)) == 2  # the cell and its training
        again = tracker.sync_train(chosen, chosen.runs[0], folders[chosen.key])
        assert again in loaded
        assert not tracker.wrote(again)
