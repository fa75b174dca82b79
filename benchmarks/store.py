"""A store of 10,000 runs: how long it takes to compare all of them, and to find one's own among them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, NullPool, create_engine, func, select

from benchmarks.commands import LMC, ROOT
from benchmarks.options import Options
from benchmarks.spread import spread
from lmc_repro.tracking.server import HOST, free_port, mlflow_server

RUNS = 10_000
ONE_CELL = ("run", "table1", "--row", "2-layer-bs1024", "--column", "sgd-medium")


def measure(options: Options) -> dict[str, Any]:
    """Return `stored_runs`: their number, and seconds and peak memory of two commands and of a reading of all of them.

    `list`: `lmc list` of a study whose 1,000 cells have six trainings and three pairs each. `again`: `lmc run` of one
    finished cell of that study: it finds its runs, reads their weights, judges and writes its results. `index`: a
    process that loads the runs of all cells, as commands on the whole study do. `stored_runs_postgresql` has `list` on
    the empty database that MLFLOW_BACKEND_STORE_URI names, as `scripts/services.sh up` prints it.
    """
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shutil.copy(ROOT / "params.yaml", root)
        first = [*LMC, *ONE_CELL, *(("--epochs", "2", "--pairs", "1") if options.quick else ())]
        _run(first, root)
        runs = multiply(f"sqlite:///{root}/mlflow.db", 8 if options.quick else RUNS)
        index = [sys.executable, "-c", _INDEX, str(root / "mlflow.db"), str(runs)]
        commands = {"list": [*LMC, "list", "table1", "--json"], "again": first, "index": index}
        found = {"stored_runs": {"runs": runs, **{name: _several(c, root, options) for name, c in commands.items()}}}
        if uri := os.environ.get("MLFLOW_BACKEND_STORE_URI"):
            found["stored_runs_postgresql"] = on_postgresql(uri, first, root, options)
        return found


def on_postgresql(uri: str, first: list[str], root: Path, options: Options) -> dict[str, Any]:
    """Return number of runs and `list`, through MLflow's server on an empty PostgreSQL database."""
    port = free_port(5950)
    address = f"http://{HOST}:{port}"
    with mlflow_server(uri, root, port, root / "log"):
        _run(first, root, address)
        runs = multiply(uri, 8 if options.quick else RUNS)
        return {"runs": runs, "list": _several([*LMC, "list", "table1", "--json"], root, options, address)}


def multiply(uri: str, wanted: int) -> int:
    """Copy every cell of a store, rows of all tables, until it has `wanted` runs or a few more; return their number."""
    engine, schema = create_engine(uri, poolclass=NullPool), MetaData()
    schema.reflect(engine)
    tables = schema.tables
    # The runs first: the others refer to them.
    copied = ["runs", *(name for name, table in tables.items() if "run_uuid" in table.c and name != "runs"), "inputs"]
    with engine.begin() as store:
        found = {name: [dict(row) for row in store.execute(select(tables[name])).mappings()] for name in copied}
        own = {row["run_uuid"] for row in found["runs"]}
        for copy in range(1, -(-wanted // len(own))):
            for name, rows in found.items():
                made = [_copied(name, row, _renamed(copy)) for row in rows]
                if made:
                    store.execute(tables[name].insert(), made)
        return int(store.execute(select(func.count()).select_from(tables["runs"])).scalar_one())


CELL_TAGS = {"lmc.cell_id", "lmc.fingerprint", "lmc.pair_key"}


def _renamed(copy: int) -> Callable[[str], str]:
    def new(text: str) -> str:
        return hashlib.sha256(f"{copy} {text}".encode()).hexdigest()[: len(text)]

    return new


def _copied(table: str, row: dict[str, Any], new: Callable[[str], str]) -> dict[str, Any]:
    return {name: _value(table, name, value, row, new) for name, value in row.items()}


def _value(table: str, name: str, value: Any, row: dict[str, Any], new: Callable[[str], str]) -> Any:
    """Return what a copy of a row has in a column: ids and what tells cells apart are new, the rest is as it was."""
    if name in ("run_uuid", "input_uuid"):
        return new(value)
    if table == "inputs":
        ends = {"source_id": "source_type", "destination_id": "destination_type"}
        if name in ends and str(row[ends[name]]).startswith("RUN"):
            return new(value)
    if table == "tags" and name == "value":
        if row["key"] == "lmc.cell":
            return f"{value}-{new('0123')}"
        if row["key"] in CELL_TAGS or row["key"] == "mlflow.parentRunId":
            return new(value)
    return value


def _several(command: list[str], root: Path, options: Options, address: str | None = None) -> dict[str, Any]:
    laps = [_run(command, root, address) for _ in range(min(options.repeats, 3))]
    return {"seconds": spread([seconds for seconds, _ in laps]), "peak_mb": max(peak for _, peak in laps)}


_INDEX = """
import sqlite3, sys
from pathlib import Path
from lmc_repro.tracking.find import Reader

database = Path(sys.argv[1])
store = sqlite3.connect(database)
cells = {cell for (cell,) in store.execute("SELECT DISTINCT value FROM tags WHERE key = 'lmc.cell_id'")}
((experiment,),) = store.execute("SELECT DISTINCT experiment_id FROM runs").fetchall()
reader = Reader(f"sqlite:///{database}")
assert len(reader.runs({"lmc.cell_id": cells}, [str(experiment)])) == int(sys.argv[2])
"""

# A process's peak begins with that of the one that started it: a small one starts the command.
_SMALL = (
    "import resource, subprocess, sys\n"
    "code = subprocess.call(sys.argv[2:])\n"
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
    "sys.exit(code)\n"
)


def _run(command: list[str], root: Path, address: str | None = None) -> tuple[float, float]:
    """Return seconds and peak memory in MB of a command; RuntimeError if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    if address:
        environment["MLFLOW_TRACKING_URI"] = address
    with tempfile.NamedTemporaryFile() as peak:
        begun = time.perf_counter()
        started = [sys.executable, "-c", _SMALL, peak.name, *command]
        done = subprocess.run(started, cwd=root, env=environment, capture_output=True, text=True)
        taken = time.perf_counter() - begun
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
        return taken, int(Path(peak.name).read_text()) * 1024 / 1e6
