"""Two processes, of one folder or of two copies, publish a study to one server that may be killed, as one would."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from small import Small, Warm
from small_results import make_pair
from small_study import DIGESTS, NUMERICS, make_plan, write_run
from trained_store import write_params

from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.common.project import Project
from lmc_repro.config.study import Judgement
from lmc_repro.results.write import write_results
from lmc_repro.tracking.server import HOST, free_port, mlflow_server

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the runs and results of one cell, and no store; to be copied."""
    project, plan = Project(tmp_path_factory.mktemp("finished")), make_plan()
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    write_params(project)
    for config in cell.runs:
        write_run(project.runs / "one", config)
    result = judge_cell([make_pair(pair) for pair in cell.pairs], Judgement(threshold=2.0), 10)
    write_results(project.results / "one", plan, {cell.key: result}, [], DIGESTS, {}, NUMERICS, "cpu")
    return project.root


def begin(clients: list[Small], address: str) -> list[int]:
    return [client.start("publish", "one", env={"MLFLOW_TRACKING_URI": address}) for client in clients]


def end(clients: list[Small], processes: list[int]) -> list[int]:
    codes = [client.wait(process) for client, process in zip(clients, processes, strict=True)]
    assert not any("Traceback" in client.printed() for client in clients)
    return codes


@pytest.fixture(scope="module")
def expected(finished: Path, empty_store: Path, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Counter[Any]:
    """The contents of the store of one client that is alone."""
    place = tmp_path_factory.mktemp("single")
    alone = [Small(Path(shutil.copytree(finished, place / "project")), warm)]
    address = f"sqlite:///{shutil.copy(empty_store, place)}"
    assert end(alone, begin(alone, address)) == [0]
    assert alone[0].printed().splitlines()[-1] == "published 7, there 0"
    return content(address)


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
    copies: int, killed: bool, finished: Path, expected: Counter[Any], warm: Warm, tmp_path: Path, empty_store: Path
) -> None:
    roots = [Path(shutil.copytree(finished, tmp_path / f"copy {i}")) for i in range(copies)]
    clients = [Small(roots[i % copies], warm, log=f"{i}.txt") for i in range(2)]
    home, port = tmp_path / "home", free_port(5400)
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    address, place = f"http://{HOST}:{port}", (f"sqlite:///{home}/mlflow.db", home, port, home / "log")
    with mlflow_server(*place) as server:
        processes = begin(clients, address)
        if not killed:
            assert end(clients, processes) == [0, 0]
            assert content(address) == expected
            return
        store = MlflowClient(address)
        while not any(store.search_runs([e.experiment_id]) for e in store.search_experiments()):
            assert not all(client.ended(process) for client, process in zip(clients, processes, strict=True))
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        end(clients, processes)
    with mlflow_server(*place):
        assert end(clients, begin(clients, address)) == [0, 0]
        assert content(address) == expected
