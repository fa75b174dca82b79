"""Fix of a store whose project was moved or copied: its absolute addresses lead to the old folder until then."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from urllib.parse import unquote

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.tracking.store import ARTIFACTS, REBUILD, default_database, other_folders, store_lock

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("datasets", "dataset_source"),
)
"""Where MLflow keeps absolute addresses."""


def fix_store(project: Project) -> int:
    """Lead the addresses in the project's own mlflow.db to its present folder, in one transaction.

    Ids, notes, tags and dates stay as they are.

    Returns:
        The number of addresses that were changed; 0 for a store that is in place, or not there.

    Raises:
        LmcError: Another process writes the store, its artifacts are not in the folder, or it cannot be written.
    """
    from filelock import Timeout

    database, home = default_database(project.home), project.home
    if not (olds := other_folders(home)):
        return 0
    if not (home / ARTIFACTS).is_dir():
        raise LmcError(f"{home}: no {ARTIFACTS} beside mlflow.db; move or copy it here too, or {REBUILD}")
    rules = [
        rule
        for old in olds
        for rule in (_rule(old, home.as_uri()), _rule(unquote(old.removeprefix("file://")), str(home)))
    ]

    def moved(text: str | None) -> str | None:
        for pattern, new in rules:
            if text and (found := pattern.match(text)):
                return f"{found[1] or ''}{new}{text[found.end() :]}"
        return text

    try:
        with store_lock(project).acquire(timeout=2), closing(sqlite3.connect(database, 2)) as store:
            store.create_function("moved", 1, moved, deterministic=True)
            with store:
                store.execute("BEGIN IMMEDIATE")
                return sum(
                    store.execute(
                        f"UPDATE {table} SET {column} = moved({column}) WHERE {column} <> moved({column})"
                    ).rowcount
                    for table, column in COLUMNS
                )
    except (Timeout, sqlite3.Error) as error:
        said = "another process writes it" if isinstance(error, Timeout) else str(error)
        raise LmcError(f"{database}: not changed ({said}); end what uses it and run this again") from None


def _rule(old: str, new: str) -> tuple[re.Pattern[str], str]:
    """Return what finds an address below `old`, bare or as MLflow's JSON of a data set; `new` may lie below `old`."""
    below = f"(?!{re.escape(new.removeprefix(old))}/)" if new.startswith(f"{old}/") else ""
    return re.compile(rf'({{"uri": ")?{re.escape(old)}{below}(?=/)'), new
