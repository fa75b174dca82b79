"""An sqlite store's file past MLflow, which takes seconds to import, and would create or migrate what it opens."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote


def open_read_only(database: Path) -> sqlite3.Connection:
    """Open the file so that nothing can be changed; any thread may use the connection, one at a time."""
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=5, check_same_thread=False)


def values_of(connection: sqlite3.Connection, table: str, runs: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return (run, name, value) of all tags or params of runs."""
    return rows_of(connection, f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN", runs)


def last_metrics(connection: sqlite3.Connection, runs: Iterable[str]) -> Iterator[tuple[str, str, float]]:
    """Yield (run, name, value) of the last point of each metric of runs."""
    query = "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics WHERE run_uuid IN"
    for run, name, value in rows_of(connection, query, runs):
        yield run, name, math.nan if value is None else value


def rows_of(connection: sqlite3.Connection, query: str, runs: Iterable[str], order: str = "") -> list[tuple[Any, ...]]:
    """Return the rows of runs, asked for in parts: sqlite has a limit of variables. `query` ends with `... IN`."""
    wanted, rows = list(runs), []
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        rows += connection.execute(f"{query} ({', '.join('?' * len(some))}) {order}", some).fetchall()
    return rows
