"""A glance into an sqlite store's file: what a search there can find, for a hundredth of its time."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Collection
from pathlib import Path

from lmc_repro.tracking.database import open_read_only
from lmc_repro.tracking.database_runs import read_runs
from lmc_repro.tracking.stored_run import StoredRun

_ANY = "SELECT 1 FROM tags WHERE key = ? AND value = ? LIMIT 1"


class Glance:
    """Reads past MLflow; where that cannot be (a server, tables of another MLflow), MLflow has to be asked.

    What any process has committed is seen. The connection, opened when first asked, lives until `close`.
    """

    def __init__(self, database: Path | None) -> None:
        self._database = database
        self._close: weakref.finalize[..., Glance] | None = None
        self._connection: sqlite3.Connection | None = None

    def may_hold(self, tag: str, value: str) -> bool:
        """Return False if no run of the store, deleted ones included, has this value of a tag."""
        if self._database is None:
            return True
        try:
            return self._open(self._database).execute(_ANY, (tag, value)).fetchone() is not None
        except sqlite3.Error:
            return True  # MLflow asks the same file, and says what is wrong with it

    def runs_of(self, experiment_id: str, cells: Collection[str]) -> list[StoredRun] | None:
        """Return an experiment's runs of these cells, oldest first, as a search would; None if it has to be asked."""
        if self._database is None:
            return None
        try:
            return read_runs(self._open(self._database), experiment_id, cells)
        except sqlite3.Error:
            return None

    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        if self._close is not None:
            self._close()
        self._close = self._connection = None

    def _open(self, database: Path) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_read_only(database)
            self._close = weakref.finalize(self, self._connection.close)
        return self._connection
