"""MLflow's server is killed while a study trains, and comes back: nothing is lost, no point is logged twice."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from figures import note
from small import SOUND, Small, rows, store_faults
from test_signals import wait_for_epoch

from lmc_repro.tracking.server import HOST, free_port, mlflow_server

pytestmark = pytest.mark.server


def test_a_server_that_goes_and_comes_back(undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    small = fresh.copy(tmp_path / "project")
    home = tmp_path / "server"
    home.mkdir()
    shutil.copy(fresh.root / "empty.db", home / "mlflow.db")
    store, port = f"sqlite:///{home}/mlflow.db", free_port(5123)
    environment = {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is gone for longer than its client tries
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    }
    with mlflow_server(store, home, port, home / "log") as server:
        pid = small.start("train", "one", "--jobs", "2", slow=0.6, env=environment)
        wait_for_epoch(small, pid, 2)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        assert small.wait(pid) == 0, small.printed()  # training goes on
        assert "tracking: MLflow could not be written" in small.printed()
        line = small.run("compare", "one", "--jobs", "1", code=2, env=environment).splitlines()[-1]
        assert f"http://{HOST}:{port}: does not answer; start the server" in line
    with mlflow_server(store, home, port, home / "log"):
        printed = small.run("run", "one", "--jobs", "2", env=environment)
        assert "trained 0, reused 4" in printed
    assert small.results() == undisturbed[0].results()
    assert store_faults(home) == SOUND
    assert not rows(small.root, "SELECT 1 FROM runs")  # and nothing went into the project's own store
    note("lost server", "killed while training, back for the comparison: every point once, the undisturbed bytes")
