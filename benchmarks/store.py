"""A store of 10,000 runs: how long it takes to compare all of them, and to find one's own among them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.commands import LMC, ROOT
from benchmarks.options import Options
from benchmarks.spread import spread

RUNS = 10_000
ONE_CELL = ("run", "table1", "--row", "2-layer-bs1024", "--column", "sgd-medium")


def measure(options: Options) -> dict[str, Any]:
    """Return `stored_runs`: their number, and seconds and peak memory of two commands and of a reading of all of them.

    `list`: `lmc list` of a study whose 1,000 cells have six trainings and three pairs each. `again`: `lmc run` of one
    finished cell of that study: it finds its runs, reads their weights, judges and writes its results. `index`: a
    process that loads the runs of all cells, as commands on the whole study do.
    """
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shutil.copy(ROOT / "params.yaml", root)
        first = [*LMC, *ONE_CELL, *(("--epochs", "2", "--pairs", "1") if options.quick else ())]
        _run(first, root)
        runs = multiply(root / "mlflow.db", 8 if options.quick else RUNS)
        index = [sys.executable, "-c", _INDEX, str(root / "mlflow.db"), str(runs)]
        commands = {"list": [*LMC, "list", "table1", "--json"], "again": first, "index": index}
        return {"stored_runs": {"runs": runs, **{name: _several(c, root, options) for name, c in commands.items()}}}


def multiply(database: Path, wanted: int) -> int:
    """Copy every cell of a store, rows of all tables, until it has `wanted` runs or a few more; return their number."""
    with closing(sqlite3.connect(database)) as store, store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {t: [row[1] for row in store.execute(f"PRAGMA table_info({t})")] for t in tables}
        of_runs = [t for t in tables if "run_uuid" in columns[t] and t != "runs"]
        # The runs first: the others refer to them.
        found = {t: store.execute(f"SELECT * FROM {t}").fetchall() for t in ("runs", *of_runs, "inputs")}
        own = {row[columns["runs"].index("run_uuid")] for row in found["runs"]}
        copies = -(-wanted // len(own)) - 1
        for copy in range(1, copies + 1):
            new = _renamed(own, copy)
            for table, rows in found.items():
                names = columns[table]
                made = [_copied(table, names, row, new) for row in rows]
                store.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", made)
        (count,) = store.execute("SELECT count(*) FROM runs").fetchone()
    return int(count)


CELL_TAGS = {"lmc.cell_id", "lmc.fingerprint", "lmc.pair_key"}


def _renamed(own: set[str], copy: int) -> Callable[[str], str]:
    def new(text: str) -> str:
        return hashlib.sha256(f"{copy} {text}".encode()).hexdigest()[: len(text)]

    return new


def _copied(table: str, names: list[str], row: tuple[Any, ...], new: Callable[[str], str]) -> tuple[Any, ...]:
    return tuple(_value(table, name, value, row, names, new) for name, value in zip(names, row, strict=True))


def _value(table: str, name: str, value: Any, row: tuple[Any, ...], names: list[str], new: Callable[[str], str]) -> Any:
    """Return what a copy of a row has in a column: ids and what tells cells apart are new, the rest is as it was."""
    if name in ("run_uuid", "input_uuid"):
        return new(value)
    if table == "inputs":
        ends = {"source_id": "source_type", "destination_id": "destination_type"}
        if name in ends and str(row[names.index(ends[name])]).startswith("RUN"):
            return new(value)
    if table == "tags" and name == "value":
        key = row[names.index("key")]
        if key == "lmc.cell":
            return f"{value}-{new('0123')}"
        if key in CELL_TAGS or key == "mlflow.parentRunId":
            return new(value)
    return value


def _several(command: list[str], root: Path, options: Options) -> dict[str, Any]:
    laps = [_run(command, root) for _ in range(min(options.repeats, 3))]
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


def _run(command: list[str], root: Path) -> tuple[float, float]:
    """Return seconds and peak memory in MB of a command; RuntimeError if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with tempfile.NamedTemporaryFile() as peak:
        begun = time.perf_counter()
        started = [sys.executable, "-c", _SMALL, peak.name, *command]
        done = subprocess.run(started, cwd=root, env=environment, capture_output=True, text=True)
        taken = time.perf_counter() - begun
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
        return taken, int(Path(peak.name).read_text()) * 1024 / 1e6
