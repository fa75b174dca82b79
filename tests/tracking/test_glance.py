from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_results import make_pair
from small_study import make_plan, open_tracker, write_run

from lmc_repro.project import Project
from lmc_repro.schemas.plan import Cell, StudyPlan
from lmc_repro.tracking.glance import Glance
from lmc_repro.tracking.index import Index
from lmc_repro.tracking.names import KEY_TAG
from lmc_repro.tracking.stored_run import StoredRun

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


def test_runs_come_oldest_first_without_deleted_ones_and_other_experiments(project: Project, plan: StudyPlan) -> None:
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
    assert [run.run_id for run in found(glance, here, {"a", "b"})] == [made[1], made[0]]
    assert found(glance, here, set()) == []
    assert Glance(None).runs_of(here, {"a"}) is None
    assert Glance(project.root / "none.db").runs_of(here, {"a"}) is None
    glance.close()


def found(glance: Glance, experiment: str, cells: set[str]) -> list[StoredRun]:
    runs = glance.runs_of(experiment, cells)
    assert runs is not None
    return runs


def test_runs_are_what_mlflow_finds(project: Project, plan: StudyPlan, tmp_path: Path) -> None:
    """All that an index knows of them: trainings with their models, one that was killed, a reused one, pairs, cells."""
    with open_tracker(project, make_plan("two")) as elsewhere:
        reused = plan.cells[0].runs[0]
        elsewhere.sync_train(plan.cells[0], reused, write_run(tmp_path, reused))
    with open_tracker(project, plan) as tracker:
        for cell in plan.cells:
            for config in cell.runs:
                tracker.sync_train(cell, config, write_run(tmp_path, config))
        pair = plan.cells[0].pairs[0]
        tracker.log_pair(plan.cells[0], "a" * 16, make_pair(pair), lambda: {"a.png": b"png"})
        client, here = MlflowClient(tracker.run_ids()["uri"]), tracker.run_ids()["experiment_id"]
        some = client.search_runs([here], "tags.`lmc.kind` = 'train'")[0].info.run_id
        client.log_metric(some, "train/loss", float("nan"), step=9)
        client.log_metric(some, "test/loss", float("inf"), step=9)
        client.set_terminated(some, "KILLED")
        glance = Glance(project.root / "mlflow.db")
        searched = Index(client, here)
        cells = {run.tags["lmc.cell_id"] for kind in KEY_TAG for run in searched.of_kind(kind)}
        read = Index(client, here, glance, cells)
        for kind in KEY_TAG:
            assert len(searched.of_kind(kind)) >= 1
            assert list(map(repr, map(in_order, read.of_kind(kind)))) == list(
                map(repr, map(in_order, searched.of_kind(kind)))
            )
        assert any(run.models for run in read.of_kind("train"))
        assert any("lmc.reused_from" in run.tags for run in read.of_kind("train"))
        glance.close()


def in_order(run: StoredRun) -> StoredRun:
    parts = {name: dict(sorted(getattr(run, name).items())) for name in ("params", "tags", "metrics", "models")}
    return replace(run, **parts)


def test_finished_work_costs_no_search_and_loads_its_own_cell_alone(
    project: Project, plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {}
    with open_tracker(project, plan) as tracker:
        for cell in plan.cells:
            folders[cell.key] = write_run(tmp_path, cell.runs[0])
            tracker.sync_train(cell, cell.runs[0], folders[cell.key])
    chosen = plan.cells[1]
    read: list[str] = []
    runs_of = Glance.runs_of

    def counting(self: Glance, experiment: str, cells: set[str]) -> list[StoredRun] | None:
        runs = runs_of(self, experiment, cells)
        read.extend(run.tags["lmc.kind"] for run in runs or [])
        return runs

    def refused(*arguments: object, **rest: object) -> None:
        raise AssertionError("MLflow was searched")

    monkeypatch.setattr(Glance, "runs_of", counting)
    monkeypatch.setattr(MlflowClient, "search_runs", refused)
    with open_tracker(project, replace(plan, cells=(chosen,))) as tracker:
        again = tracker.sync_train(chosen, chosen.runs[0], folders[chosen.key])
        assert not tracker.wrote(again)
    assert sorted(read) == ["cell", "train"]
