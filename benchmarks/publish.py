"""Publishing the finished Table 1 of the project: into an empty sqlite store, and on PostgreSQL and S3."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.commands import LMC, ROOT
from benchmarks.options import Options
from lmc_repro.tracking.server import HOST, free_port, running_server

STUDY = "table1"


def measure(options: Options) -> dict[str, Any]:
    """Return `publish`: the number of runs, seconds, and CPU seconds of the command; None without finished runs.

    `publish_server` has the same and the requests per run, through MLflow's server on the services whose addresses
    `scripts/services.sh up` prints, in a database of its own.
    """
    if options.quick or not any((ROOT / "runs" / STUDY).glob("*/status.json")):
        return {"publish": None}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in ("params.yaml", "runs", "results"):
            (root / name).symlink_to(ROOT / name)
        found = {"publish": _publish(root)}
        if uri := os.environ.get("MLFLOW_BACKEND_STORE_URI"):
            with _database(uri) as own:
                found["publish_server"] = _on_server(own, root)
        return found


def _publish(root: Path, **settings: str) -> dict[str, float]:
    """Return runs, seconds and CPU seconds of one call; RuntimeError if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | settings
    begun, before = time.perf_counter(), os.times()
    command = [*LMC, "publish", STUDY]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    seconds, after = time.perf_counter() - begun, os.times()
    made = re.search(r"published (\d+), there 0", done.stdout)
    if done.returncode != 0 or made is None:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
    cpu = sum(after[2:4]) - sum(before[2:4])
    return {"runs": int(made[1]), "seconds": seconds, "cpu_seconds": cpu}


def _on_server(uri: str, root: Path) -> dict[str, float]:
    port, log = free_port(5960), root / "log"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_ARTIFACTS_DESTINATION": os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with running_server(command, settings, root, port, log):
        found = _publish(root, MLFLOW_TRACKING_URI=f"http://{HOST}:{port}")
        requests = len(re.findall(r'"(?:GET|POST|PUT|PATCH|DELETE) /api/', log.read_text()))
    return {**found, "requests_per_run": requests / found["runs"]}


@contextmanager
def _database(uri: str) -> Iterator[str]:
    """Yield the address of a new database on the same server, which is removed afterwards."""
    from sqlalchemy import NullPool, create_engine, make_url, text

    own = make_url(uri).set(database="lmc_benchmark")
    with create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as server:
        server.execute(text("CREATE DATABASE lmc_benchmark"))
        try:
            yield own.render_as_string(hide_password=False)
        finally:
            server.execute(text("DROP DATABASE lmc_benchmark WITH (FORCE)"))
