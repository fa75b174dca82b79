from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from crowd import publish
from mlflow import MlflowClient
from small_results import Small
from small_study import fingerprint, open_tracker, weights

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking import Tracker


@pytest.mark.slow
def test_three_processes_on_a_cold_store(tmp_path: Path, cell: Cell) -> None:
    project = Project(tmp_path)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        jobs = [pool.apply_async(publish, (project, cell, tmp_path / f"runs-{i}")) for i in range(3)]
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


def damaged_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


def missing_tables(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE alembic_version")
        connection.execute("DROP TABLE logged_models")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(b"not a database at all, but long enough to look like one"), "not a database.*"),
        (lambda path: path.write_bytes(b"\x00" * 200), "not a database.*"),
        (damaged_page, ""),
        (missing_tables, ""),
    ],
)
def test_a_store_that_is_no_database_or_damaged(harm: Callable[[Path], object], said: str, small: Small) -> None:
    harm(small.project.root / "mlflow.db")
    with pytest.raises(LmcError, match=rf"mlflow\.db.*{said}delete mlflow\.db") as error:
        small.open()
    assert "\n" not in str(error.value)


def weights_at(small: Small, tracker: Tracker, epoch: float) -> list[float]:
    run = tracker.runs(small.cell, [fingerprint(small.config)])[fingerprint(small.config)]
    back: list[float] = tracker.checkpoint(run, epoch).tensors()["bias"].tolist()
    return back


@pytest.mark.slow
def test_a_deleted_store_is_rebuilt(small: Small, tmp_path: Path) -> None:
    small.sync()
    rest = Project(tmp_path / "rest")  # MLflow would go on with the deleted file in this process
    shutil.copytree(small.project.root, rest.root, ignore=shutil.ignore_patterns("mlflow.db"))
    assert (rest.root / "mlflow.db-wal").stat().st_size > 0  # left behind, as after `rm mlflow.db`
    small.project = rest
    second = small.open()
    assert second.runs(small.cell, [fingerprint(small.config)]) == {}
    small.sync(second)
    assert weights_at(small, second, 4) == weights(small.config, 4)["bias"].tolist()


def test_a_store_deleted_under_a_process_is_noticed(small: Small) -> None:
    small.open()
    (small.project.root / "mlflow.db").unlink()
    with pytest.raises(LmcError, match=r"mlflow\.db: deleted while this process had it open"):
        small.open()


def test_a_closed_store_is_one_file(small: Small, tmp_path: Path) -> None:
    with small.open() as tracker:
        run_id = small.sync(tracker)
    shutil.copy(small.project.root / "mlflow.db", tmp_path / "copy.db")
    assert MlflowClient(f"sqlite:///{tmp_path}/copy.db").get_run(run_id).info.status == "FINISHED"


def test_a_deleted_experiment_comes_back(small: Small) -> None:
    run_id = small.sync()
    small.client.delete_experiment(small.tracker.run_ids()["experiment_id"])
    second = small.open()
    assert second.run_ids() == small.tracker.run_ids()
    assert small.sync(second) == run_id


def test_children_follow_a_new_parent(small: Small) -> None:
    train, pair, old = small.sync(), small.pair(), small.finish()
    small.client.delete_run(old)
    second = small.open()
    assert (small.sync(second), small.pair(second)) == (train, pair)
    new = small.finish(second)
    assert new != old
    assert {small.run(run).data.tags["mlflow.parentRunId"] for run in (train, pair)} == {new}


def test_the_experiment_says_what_it_is(project: Project, plan: StudyPlan) -> None:
    ids = open_tracker(project, plan).run_ids()
    assert ids["experiment"] == "lmc/one/tiny"
    experiment = MlflowClient(ids["uri"]).get_experiment(ids["experiment_id"])
    assert "Does it connect?" in experiment.tags["mlflow.note.content"]
    assert experiment.artifact_location == (project.root / "mlartifacts/one/tiny").as_uri()


def test_the_projects_run_does_not_leak(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    train = small.sync()
    assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"} & os.environ.keys()
    parent = small.run(small.run(train).data.tags["mlflow.parentRunId"])
    assert train != "f" * 32
    assert parent.data.tags["lmc.project_run"] == "f" * 32
    assert small.finish(small.open()) == parent.info.run_id


def test_a_relative_address_belongs_to_the_project(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # as `mlflow run` passes it on
    assert small.open().run_ids()["uri"] == f"sqlite:///{small.project.root}/mlflow.db"
    assert list((tmp_path / "work").iterdir()) == []


def test_another_store_is_used_where_wished(
    small: Small, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copy(empty_store, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    before = (small.project.root / "mlflow.db").read_bytes()
    assert MlflowClient(f"sqlite:///{other}").get_run(small.sync()).info.status == "FINISHED"
    assert (small.project.root / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("name", ["with space", "50%20off", "a#b?c", "ä'ö"])
def test_odd_folder_names(name: str, small: Small, tmp_path: Path) -> None:
    small.project = Project(small.project.root.rename(tmp_path / name))
    small.sync()
    assert weights_at(small, small.tracker, 0) == [0.0, 0.0, 0.0]
    assert (small.project.root / "mlflow.db-wal").exists()  # the store is there, and nowhere else


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
