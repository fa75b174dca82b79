"""Fix of a store whose project was moved or copied: its absolute addresses lead to the old folder until then."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from urllib.parse import unquote

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.tracking.store import REBUILD, artifact_places, default_database

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("datasets", "dataset_source"),
)
"""Where MLflow keeps absolute addresses."""

_URI = "file://"


def fix_store(project: Project) -> int:
    """Lead the addresses in the project's own mlflow.db to its present folder, in one transaction.

    Ids, notes, tags and dates stay as they are.

    Returns:
        The number of addresses that were changed; 0 for a store that is in place, or not there.

    Raises:
        LmcError: Another process writes the store, its artifacts are not in the folder, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    database, home = default_database(project.home), project.home
    places = artifact_places(home)
    away = {old: here for old, here in places.items() if old != here}
    if not away:
        return 0
    tail = len(home.as_uri())
    olds = {old.removesuffix(here[tail:]) for old, here in away.items() if old.endswith(here[tail:])}
    if not all(old.startswith(_URI) for old in olds) or len(olds) == 0:
        raise LmcError(f"{database}: its artifacts lie at {min(away)}, which is no project's folder; {REBUILD}")
    if not (home / "mlartifacts").is_dir():
        raise LmcError(f"{home}: no mlartifacts beside mlflow.db; move or copy it here too, or {REBUILD}")
    rules = [rule for old in olds for rule in (_rule(old, home.as_uri()), _rule(_path(old), str(home)))]

    def moved(text: str | None) -> str | None:
        for pattern, new in rules:
            if text and (found := pattern.match(text)):
                return f"{found[1] or ''}{new}{text[found.end() :]}"
        return text

    project.working.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(project.working / "mlflow.lock", timeout=5), closing(sqlite3.connect(database, 5)) as store:
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


def _path(uri: str) -> str:
    return unquote(uri.removeprefix(_URI))


def _rule(old: str, new: str) -> tuple[re.Pattern[str], str]:
    """Return what finds an address below `old`, bare or as MLflow's JSON of a data set; `new` may lie below `old`."""
    below = f"(?!{re.escape(new.removeprefix(old))}/)" if new.startswith(f"{old}/") else ""
    return re.compile(rf'({{"uri": ")?{re.escape(old)}{below}(?=/)'), new
