"""An sqlite store's file past MLflow, which takes seconds to import, and would create or migrate what it opens."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote


def open_read_only(database: Path) -> sqlite3.Connection:
    """Open the file so that nothing can be changed; any thread may use the connection, one at a time."""
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=5, check_same_thread=False)


def rows_of(connection: sqlite3.Connection, query: str, runs: Iterable[str], order: str = "") -> list[tuple[Any, ...]]:
    """Return the rows of runs, asked for in parts: sqlite has a limit of variables. `query` ends with `... IN`."""
    wanted, rows = list(runs), []
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        rows += connection.execute(f"{query} ({', '.join('?' * len(some))}) {order}", some).fetchall()
    return rows
