from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from crowd import publish
from mlflow import MlflowClient
from small_results import make_cell, make_pair
from small_study import open_tracker, weights, write_run

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan


@pytest.mark.slow
def test_six_processes_on_a_cold_store(tmp_path: Path, cell: Cell) -> None:
    project = Project(tmp_path)
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        jobs = [pool.apply_async(publish, (project, cell, tmp_path / f"runs-{i}")) for i in range(6)]
        found = {job.get(timeout=300) for job in jobs}
    assert len(found) == 1
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("lmc/one/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["lmc.kind"] for run in runs) == ["cell", "pair", "train", "train"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_logged_models([experiment.experiment_id])) == 2
    for run in runs:
        assert all(len(client.get_metric_history(run.info.run_id, name)) <= 4 for name in run.data.metrics)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look like one", b"\x00" * 200])
def test_a_store_that_is_no_database(project: Project, plan: StudyPlan, content: bytes) -> None:
    (project.root / "mlflow.db").write_bytes(content)
    with pytest.raises(LmcError, match=r"mlflow\.db: not a database.*delete mlflow\.db") as error:
        open_tracker(project, plan)
    assert "\n" not in str(error.value)


def test_a_store_with_a_damaged_page(project: Project, plan: StudyPlan) -> None:
    path = project.root / "mlflow.db"
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(LmcError, match=r"mlflow\.db.*delete mlflow\.db") as error:
        open_tracker(project, plan)
    assert "\n" not in str(error.value)


def test_a_store_with_missing_tables(project: Project, plan: StudyPlan) -> None:
    with sqlite3.connect(project.root / "mlflow.db") as connection:
        connection.execute("DROP TABLE alembic_version")
        connection.execute("DROP TABLE logged_models")
    with pytest.raises(LmcError, match=r"mlflow\.db.*delete mlflow\.db") as error:
        open_tracker(project, plan)
    assert "\n" not in str(error.value)


def test_a_deleted_store_is_rebuilt(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    first = open_tracker(project, plan)
    first.sync_train(cell, config, folder)
    rest = Project(tmp_path / "rest")  # MLflow would go on with the deleted file in this process
    shutil.copytree(project.root, rest.root, ignore=shutil.ignore_patterns("mlflow.db"))
    assert (rest.root / "mlflow.db-wal").stat().st_size > 0  # left behind, as after `rm mlflow.db`
    second = open_tracker(rest, plan)
    assert second.runs(cell, [folder.fingerprint]) == {}
    second.sync_train(cell, config, folder)
    run = second.runs(cell, [folder.fingerprint])[folder.fingerprint]
    assert second.checkpoint(run, 4).tensors()["bias"].tolist() == weights(config, 4)["bias"].tolist()


def test_a_store_deleted_under_a_process_is_noticed(project: Project, plan: StudyPlan) -> None:
    open_tracker(project, plan)
    (project.root / "mlflow.db").unlink()
    with pytest.raises(LmcError, match=r"mlflow\.db: deleted while this process had it open"):
        open_tracker(project, plan)


def test_a_closed_store_is_one_file(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    with open_tracker(project, plan) as tracker:
        run_id = tracker.sync_train(cell, config, write_run(tmp_path, config))
    shutil.copy(project.root / "mlflow.db", tmp_path / "copy.db")
    assert MlflowClient(f"sqlite:///{tmp_path}/copy.db").get_run(run_id).info.status == "FINISHED"


def test_a_moved_project_is_noticed(project: Project, plan: StudyPlan) -> None:
    open_tracker(project, plan).close()
    moved = project.root.rename(project.root.with_name("elsewhere"))
    with pytest.raises(LmcError, match=r"moved or copied; delete mlflow\.db"):
        open_tracker(Project(moved), plan)


def test_a_deleted_experiment_comes_back(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    first = open_tracker(project, plan)
    run_id = first.sync_train(cell, config, write_run(tmp_path, config))
    first.client.delete_experiment(first.run_ids()["experiment_id"])
    second = open_tracker(project, plan)
    assert second.run_ids() == first.run_ids()
    assert second.sync_train(cell, config, write_run(tmp_path, config)) == run_id


def test_children_follow_a_new_parent(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> None:
    config = cell.runs[0]
    folder = write_run(tmp_path, config)
    first = open_tracker(project, plan)
    train = first.sync_train(cell, config, folder)
    pair = first.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), dict)
    client = first.client
    old = first.finish_cell(cell, make_cell(cell))
    client.delete_run(old)
    second = open_tracker(project, plan)
    assert second.sync_train(cell, config, folder) == train
    assert second.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), dict) == pair
    new = second.finish_cell(cell, make_cell(cell))
    assert new != old
    assert {client.get_run(run).data.tags["mlflow.parentRunId"] for run in (train, pair)} == {new}


def test_the_experiment_says_what_it_is(project: Project, plan: StudyPlan) -> None:
    ids = open_tracker(project, plan).run_ids()
    assert ids["experiment"] == "lmc/one/tiny"
    experiment = MlflowClient(ids["uri"]).get_experiment(ids["experiment_id"])
    assert "Does it connect?" in experiment.tags["mlflow.note.content"]
    assert experiment.artifact_location == (project.root / "mlartifacts/one/tiny").as_uri()


def test_the_projects_run_does_not_leak(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    tracker = open_tracker(project, plan)
    assert "MLFLOW_RUN_ID" not in os.environ
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ
    config = cell.runs[0]
    train = tracker.sync_train(cell, config, write_run(tmp_path, config))
    client = tracker.client
    parent = client.get_run(client.get_run(train).data.tags["mlflow.parentRunId"])
    assert train != "f" * 32
    assert parent.data.tags["lmc.project_run"] == "f" * 32
    assert open_tracker(project, plan).finish_cell(cell, make_cell(cell)) == parent.info.run_id


def test_a_relative_address_belongs_to_the_project(
    project: Project, plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # as `mlflow run` passes it on
    assert open_tracker(project, plan).run_ids()["uri"] == f"sqlite:///{project.root}/mlflow.db"
    assert list((tmp_path / "work").iterdir()) == []


def test_another_store_is_used_where_wished(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.db"
    shutil.copy(empty_store, other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    before = (project.root / "mlflow.db").read_bytes()
    config = cell.runs[0]
    tracker = open_tracker(project, plan)
    run_id = tracker.sync_train(cell, config, write_run(tmp_path, config))
    assert MlflowClient(f"sqlite:///{other}").get_run(run_id).info.status == "FINISHED"
    assert (project.root / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("name", ["with space", "50%20off", "a#b?c", "ä'ö"])
def test_odd_folder_names(name: str, tmp_path: Path, empty_store: Path, plan: StudyPlan, cell: Cell) -> None:
    project = Project(tmp_path / name)
    project.root.mkdir()
    shutil.copy(empty_store, project.root / "mlflow.db")
    config = cell.runs[0]
    tracker = open_tracker(project, plan)
    folder = write_run(tmp_path, config)
    tracker.sync_train(cell, config, folder)
    run = tracker.runs(cell, [folder.fingerprint])[folder.fingerprint]
    assert tracker.checkpoint(run, 0).tensors()["bias"].tolist() == [0.0, 0.0, 0.0]
    assert (project.root / "mlflow.db-wal").exists()  # the store is there, and nowhere else


def test_an_unreachable_server_is_one_line(project: Project, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(LmcError, match=r"^http://127\.0\.0\.1:1: .*unset MLFLOW_TRACKING_URI") as error:
        open_tracker(project, plan)
    assert "\n" not in str(error.value)


def test_importing_the_package_is_cheap() -> None:
    code = "import lmc_repro.tracking, sys; print([m for m in ('mlflow', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
