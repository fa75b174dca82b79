"""Looking at a store without changing it, and ending what a crash left running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from small_study import open_tracker, write_run

from lmc_repro.common.errors import LmcError
from lmc_repro.common.locks import is_gone, this_process
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.maintenance.doctor import check_store
from lmc_repro.tracking.store import tracking_uri
from lmc_repro.tracking.views import end_stale, survey


def ended_process() -> str:
    """The tag of a process of this machine that is over."""
    code = "from lmc_repro.common.locks import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_lives_or_is_gone() -> None:
    assert is_gone(this_process()) is False
    assert is_gone(ended_process()) is True


def test_what_cannot_be_known_is_not_called_gone() -> None:
    host, boot, namespace, number, start = this_process().split(" ")
    assert is_gone(None) is None
    assert is_gone("garbage") is None
    assert is_gone(" ".join(("elsewhere", boot, namespace, number, start))) is None
    assert is_gone(" ".join((host, boot, "pid:[1]", number, start))) is None


def test_a_number_given_to_another_process_or_before_a_restart_is_gone() -> None:
    host, boot, namespace, number, start = this_process().split(" ")
    if start == "-" or boot == "-":
        pytest.skip("this system does not tell when a process or the machine was started")
    assert is_gone(" ".join((host, boot, namespace, number, str(int(start) + 1)))) is True
    assert is_gone(" ".join((host, "another-boot", namespace, number, start))) is True


def test_the_start_is_that_of_earlier_versions() -> None:
    stat = Path("/proc/self/stat")
    if not stat.is_file():
        pytest.skip("this system does not tell when a process was started")
    assert this_process().split(" ")[4] == stat.read_text().rpartition(")")[2].split()[19]


def test_without_psutil_only_the_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that only trains."""
    known = this_process()
    monkeypatch.setitem(sys.modules, "psutil", None)
    host, boot, namespace, number, start = this_process().split(" ")
    assert start == "-" and known.startswith(f"{host} {boot} {namespace} {number} ")
    assert is_gone(known) is False and is_gone(this_process()) is False


@pytest.fixture
def half(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> str:
    """A run that this process began and did not finish."""
    config = cell.runs[0]
    return open_tracker(project, plan).sync_train(cell, config, write_run(tmp_path / "runs", config, last=2))


def tag(project: Project, run: str, value: str) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri(project.root)).set_tag(run, "lmc.process", value)


@pytest.mark.slow
def test_only_runs_of_a_gone_process_are_ended(project: Project, half: str) -> None:
    from mlflow import MlflowClient

    uri = tracking_uri(project.root)
    found = survey(uri)
    assert found is not None and not found.stale and len(found.running) == 2  # the cell and its training
    assert found.experiments["lmc/one/tiny"] == {"cell": 1, "train": 1}
    tag(project, half, ended_process())
    found = survey(uri)
    assert found is not None and [run.run_id for run in found.stale] == [half]
    assert end_stale(uri, found) == [half]
    client = MlflowClient(uri)
    assert client.get_run(half).info.status == "KILLED"
    again = survey(uri)
    assert again is not None and not again.stale and len(again.running) == 1


@pytest.mark.slow
def test_the_doctor_tells_and_ends_them(project: Project, half: str) -> None:
    tag(project, half, ended_process())
    told = {f.name: f for f in check_store(project.root, fix_runs=False)}
    assert told["stale runs"].state == "warning" and "1 train" in told["stale runs"].detail
    assert told["stale runs"].fix == "lmc doctor --fix-runs"
    ended = {f.name: f for f in check_store(project.root, fix_runs=True)}
    assert ended["stale runs"].detail.startswith("ended 1")
    assert "stale runs" not in {f.name for f in check_store(project.root, fix_runs=False)}


@pytest.mark.slow
def test_a_run_that_is_resumed_belongs_to_the_process_that_resumes_it(
    project: Project, plan: StudyPlan, cell: Cell, half: str, tmp_path: Path
) -> None:
    tag(project, half, ended_process())
    uri = tracking_uri(project.root)
    found = survey(uri)
    assert found is not None
    end_stale(uri, found)
    config = cell.runs[0]
    assert open_tracker(project, plan).sync_train(cell, config, write_run(tmp_path / "r", config, last=3)) == half
    found = survey(uri)
    assert found is not None and {run.gone for run in found.running} == {False}


def test_a_run_left_by_mlflow_run_is_stale_unless_something_has_its_id(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    if not psutil.LINUX:
        pytest.skip("only Linux shows which processes belong to an `mlflow run`")
    uri = tracking_uri(project.root)
    client = MlflowClient(uri)
    left = client.create_run("0", tags={"mlflow.source.type": "PROJECT"}).info.run_id
    used = client.create_run("0", tags={"mlflow.source.type": "PROJECT"}).info.run_id
    environment = {**os.environ, "LMC_PROJECT_RUN": used}
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    # An `mlflow run` of somebody else on this machine would make it unknown.
    monkeypatch.setattr(psutil, "pids", lambda: [child.pid, os.getpid()])
    try:
        found = survey(uri)
    finally:
        child.communicate(b"\n")
    assert found is not None
    assert {run.run_id: run.gone for run in found.running} == {left: True, used: False}


def test_no_store_and_a_broken_one(tmp_path: Path) -> None:
    uri = tracking_uri(tmp_path)
    assert survey(uri) is None
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "mlflow.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(LmcError, match=r"mlflow.db: cannot be read as MLflow's store .*; delete mlflow.db"):
        survey(uri)


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (finding,) = check_store(tmp_path, fix_runs=False)
    assert finding.state == "warning"
    assert finding.detail == "http://127.0.0.1:9: does not answer" and "start the server" in str(finding.fix)
