"""An sqlite store's file past MLflow, which takes seconds to import, and would create or migrate what it opens."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def open_read_only(database: Path) -> sqlite3.Connection:
    """Open the file so that nothing can be changed; any thread may use the connection, one at a time."""
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=5, check_same_thread=False)
