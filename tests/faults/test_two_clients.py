"""Processes of one folder and of a copy publish a study at once to a server that may be killed, as one would."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import pytest
from finished import write_finished
from mlflow import MlflowClient
from small import Small, Warm

from lmc_repro.tracking.artifacts import ARCHIVE
from lmc_repro.tracking.server import HOST, free_port, mlflow_server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project, to be copied."""
    return write_finished(tmp_path_factory.mktemp("finished"))


def begin(clients: list[Small], address: str) -> list[int]:
    # A server that is gone stays gone for longer than its client tries.
    environment = {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    return [client.start("publish", "one", env=environment) for client in clients]


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
    """Return what the store's experiment holds, without ids and times, and how often; an archive is what it holds."""
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
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        if ARCHIVE in files:
            with (
                TemporaryDirectory() as place,
                ZipFile(client.download_artifacts(run.info.run_id, ARCHIVE, place)) as archive,
            ):
                files = files - {ARCHIVE} | {name.partition("/")[0] for name in archive.namelist()}
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""))
        found[str((run.info.run_name, run.info.status, parent, sorted(history.items()), sorted(files)))] += 1
    found["models"] = len(client.search_logged_models([experiment.experiment_id]))
    return found


@pytest.mark.parametrize("killed", [False, True])
def test_clients_of_one_folder_and_of_a_copy_are_as_one(
    killed: bool, finished: Path, expected: Counter[Any], warm: Warm, tmp_path: Path, empty_store: Path
) -> None:
    roots = [Path(shutil.copytree(finished, tmp_path / f"copy {i}")) for i in range(2)]
    clients = [Small(roots[copy], warm, log=f"{i}.txt") for i, copy in enumerate((0, 0, 1))]
    home, port = tmp_path / "home", free_port(5400)
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    address, place = f"http://{HOST}:{port}", (f"sqlite:///{home}/mlflow.db", home, port, home / "log")
    with mlflow_server(*place) as server:
        processes = begin(clients, address)
        if not killed:
            assert end(clients, processes) == [0, 0, 0]
            assert content(address) == expected
            return
        store = MlflowClient(address)
        while not any(store.search_runs([e.experiment_id]) for e in store.search_experiments()):
            assert not all(client.ended(process) for client, process in zip(clients, processes, strict=True))
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        end(clients, processes)
    with mlflow_server(*place):
        assert end(clients, begin(clients, address)) == [0, 0, 0]
        assert content(address) == expected
