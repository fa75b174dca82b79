"""A glance into an sqlite store's file: whether a search there can find anything, for a hundredth of its time."""

from __future__ import annotations

import sqlite3
import weakref
from pathlib import Path

from lmc_repro.tracking.database import open_read_only

_QUERY = "SELECT 1 FROM tags WHERE key = ? AND value = ? LIMIT 1"


class Glance:
    """Reads tags past MLflow; where that cannot be (a server, tables of another MLflow), every search may find some.

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
            return self._open(self._database).execute(_QUERY, (tag, value)).fetchone() is not None
        except sqlite3.Error:
            return True  # MLflow asks the same file, and says what is wrong with it

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
