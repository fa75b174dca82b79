"""MLflow's server for one person: on this machine's own address, one worker, no job runner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from lmc_repro.common.errors import LmcError

HOST = "127.0.0.1"
_PATIENCE = 180.0  # seconds until it answers; about 10 on two idle cores


def free_port(wanted: int) -> int:
    """Return `wanted` if that port is free, else another free port."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left counts as free
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise LmcError(f"--port {wanted}: no port of {HOST} is free; end some other server")


@contextmanager
def mlflow_server(uri: str, root: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server of the store `uri` from the folder `root` for the block; it answers when this yields.

    Its output goes to `log`. LmcError with its last line if it ends, or does not answer, before that.
    """
    # The worker count makes the server slow (four are several times slower than one), the job runner large.
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    ours = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # no argument: those of a process can be read by everyone
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with running_server(command, ours, root, port, log) as process:
        yield process


@contextmanager
def running_server(
    command: Sequence[str], settings: Mapping[str, str], root: Path, port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command of a server for the block, with these settings in place of MLflow's in the environment.

    Those of S3 (MLFLOW_S3_...) are kept. The rest is as `mlflow_server` has it.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MLFLOW_") or name.startswith("MLFLOW_S3_")
    } | dict(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        # A group of its own: the server has child processes, and we end them all on Ctrl-C.
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
        )
    try:
        _wait(process, port, log)
        yield process
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise LmcError(f"mlflow server ended with code {process.returncode}: {_last_line(log)}; see {log}")
        # OSError covers refusals, timeouts and answers that are no success.
        with suppress(OSError), urlopen(f"http://{HOST}:{port}/health", timeout=5):
            return
        time.sleep(0.1)
    raise LmcError(f"mlflow server does not answer after {_PATIENCE:.0f} s: {_last_line(log)}; see {log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it printed nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    for ending, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):  # the group is gone
            os.killpg(process.pid, ending)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
