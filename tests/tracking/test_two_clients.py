"""Two processes, of one folder or of two copies, publish a study to one server that may be killed, as one would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from small_results import make_pair
from small_study import DIGESTS, NUMERICS, write_run
from trained_store import write_params

from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Judgement
from lmc_repro.results.write import write_results
from lmc_repro.tracking.server import HOST, free_port, mlflow_server

pytestmark = [pytest.mark.server, pytest.mark.slow]
LMC = "from lmc_repro.cli import main; main()"


@pytest.fixture
def finished(tmp_path: Path, plan: StudyPlan, cell: Cell) -> Project:
    """A project with the runs and results of one cell, and no store."""
    project = Project(tmp_path / "project")
    project.root.mkdir()
    write_params(project)
    for config in cell.runs:
        write_run(project.runs / "one", config)
    result = judge_cell([make_pair(pair) for pair in cell.pairs], Judgement(threshold=2.0), 10)
    write_results(project.results / "one", plan, {cell.key: result}, [], DIGESTS, {}, NUMERICS, "cpu")
    return project


def begin(project: Project, address: str) -> subprocess.Popen[str]:
    environment = os.environ | {"MLFLOW_TRACKING_URI": address, "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.Popen(
        [sys.executable, "-c", LMC, "publish", "one"], cwd=project.root, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def content(address: str) -> Counter[Any]:
    """Return what the store's experiment holds, without ids and times, and how often."""
    client = MlflowClient(address)
    (experiment,) = [e for e in client.search_experiments() if e.name.startswith("lmc/")]
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    found: Counter[Any] = Counter()
    for run in runs:
        history = {
            name: tuple((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""))
        found[str((run.info.run_name, run.info.status, parent, sorted(history.items()), files))] += 1
    found["models"] = len(client.search_logged_models([experiment.experiment_id]))
    return found


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("copies", [1, 2])
def test_two_clients_are_as_one(
    copies: int, killed: bool, finished: Project, tmp_path: Path, empty_store: Path
) -> None:
    def serve(name: str) -> tuple[str, Path, int, Path]:
        home = tmp_path / name
        if not home.exists():
            home.mkdir()
            shutil.copy(empty_store, home / "mlflow.db")
        return f"sqlite:///{home}/mlflow.db", home, free_port(5400), home / "log"

    with mlflow_server(*(place := serve("one"))):
        single = begin(finished, f"http://{HOST}:{place[2]}")
        assert single.communicate(timeout=120)[0].splitlines()[-1] == "published 7, there 0"
        expected = content(f"http://{HOST}:{place[2]}")
    shutil.copytree(finished.root, finished.root.with_name("copy"))
    folders = [finished, Project(finished.root.with_name("copy")) if copies == 2 else finished]
    place = serve("two")
    address = f"http://{HOST}:{place[2]}"
    with mlflow_server(*place) as server:
        both = [begin(folder, address) for folder in folders]
        if killed:
            client = MlflowClient(address)
            while not any(client.search_runs([e.experiment_id]) for e in client.search_experiments()):
                assert any(process.poll() is None for process in both)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        said = [process.communicate(timeout=200)[0] for process in both]
    assert not any("Traceback" in text for text in said), said
    if not killed:
        assert [process.returncode for process in both] == [0, 0], said
    with mlflow_server(*place):
        again = [begin(folder, address) for folder in folders]
        said = [process.communicate(timeout=200)[0] for process in again]
        assert [process.returncode for process in again] == [0, 0], said
        assert content(address) == expected
