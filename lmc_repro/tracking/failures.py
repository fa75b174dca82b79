"""A store that cannot be read or reached becomes one line; a mistake in this program stays a traceback."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lmc_repro.errors import LmcError

REBUILD = "delete mlflow.db and mlartifacts and compare again: they are rebuilt from runs/"

_TROUBLE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "BAD_REQUEST"}


def check_database(path: Path) -> None:
    """LmcError if sqlite cannot read or write the file; MLflow itself would try again for minutes."""
    place = path if path.exists() else path.parent
    if not os.access(place, os.R_OK | os.W_OK):
        raise LmcError(f"{place}: cannot be written; mend its permissions, or set MLFLOW_TRACKING_URI to another store")
    if path.exists():
        try:
            with closing(sqlite3.connect(path, timeout=60)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            raise LmcError(f"{path}: not a database that sqlite can read ({error}); {REBUILD}") from None


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn what a broken, unreachable or full store raises into an LmcError with the address and what to do."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError

    fix = REBUILD if uri.startswith("sqlite:") else "start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"
    try:
        yield
    except MlflowException as error:
        if error.error_code not in _TROUBLE:
            raise
        raise LmcError(f"{uri}: {_first_line(error)}; {_fix(error, fix)}") from error
    except DBAPIError as error:
        raise LmcError(f"{uri}: {_first_line(error)}; {_fix(error, fix)}") from error
    except OSError as error:
        if error.filename is None:
            raise
        raise LmcError(f"{error.filename}: {error.strerror}; free some space or mend the permissions") from error


def _fix(error: Exception, fix: str) -> str:
    """Return what to do: a store without room is a whole one."""
    no_room = any(words in str(error) for words in ("disk is full", "disk I/O error"))
    return "free some space, or mend the disk, and run again" if no_room else fix


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    # Refused, unknown host, timeout: MLflow tells each with the whole chain of its libraries.
    return "does not answer" if "failed with exception" in line else line[:300]
