"""A shared store: its versions, its indexes, the time of a request, and whether artifacts can be written."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from lmc_repro.common.errors import LmcError
from lmc_repro.tracking import names
from lmc_repro.tracking.store import TRACKING_URI, connect, database_path, impatience, one_line_errors

SLOW = 0.3
"""Seconds of a request; a server near by takes a tenth of it."""

TABLES = ("tags", "params", "metrics", "latest_metrics")
"""Those that are read by run; without an index on it, each read takes the whole table."""


class Fact(NamedTuple):
    """One line; `good` is None where it is neither good nor bad."""

    name: str
    good: bool | None
    detail: str
    fix: str | None = None


def facts(uri: str, write: bool = False) -> list[Fact]:
    """Return what there is to say of a server, or of a database that is no sqlite file; nothing of an sqlite file.

    Args:
        uri: The store's address.
        write: Also write a small artifact and remove it.

    Raises:
        LmcError: The store cannot be read.
    """
    if database_path(uri):
        return []
    client = connect(uri)
    with one_line_errors(uri), impatience():
        found = [*(_server(uri) if uri.startswith("http") else _database(uri))]
        laps = []
        for _ in range(3):
            begun = time.perf_counter()
            client.search_experiments(max_results=1)
            laps.append(time.perf_counter() - begun)
        taken = statistics.median(laps)
        fix = "a server near by, auth_cache_ttl_seconds for basic-auth: docs/cluster.md"
        found.append(Fact("request", taken < SLOW, f"{1000 * taken:.0f} ms", fix if taken >= SLOW else None))
        if write:
            ours = client.search_experiments(max_results=1, filter_string=f"name LIKE '{names.EXPERIMENT_PREFIX}%'")
            place = (ours or client.search_experiments(max_results=1))[0].artifact_location
            behind = place.startswith("mlflow-artifacts:") and not uri.startswith("http")
            found.append(Fact("artifacts", None, f"{place}: behind its server") if behind else _artifacts(uri, place))
    return found


def _server(uri: str) -> Iterator[Fact]:
    from mlflow import __version__ as ours
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    creds = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    theirs = http_request(creds, "/version", "GET").text.strip()[:40]  # type: ignore[no-untyped-call]
    yield Fact("version", True if theirs == ours else None, f"MLflow {theirs} on the server, {ours} here")
    yield Fact("indexes", None, f"not seen through a server: set {TRACKING_URI} to its database on its machine")


def _database(uri: str) -> Iterator[Fact]:
    from mlflow.store.db.utils import _get_latest_schema_revision, _get_schema_version
    from sqlalchemy import NullPool, create_engine, inspect

    engine = create_engine(uri, poolclass=NullPool)
    theirs, ours = _get_schema_version(engine), _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    same = theirs == ours
    fix = "`mlflow db upgrade` if the MLflow here is the newer one, else install the server's"
    yield Fact("schema", same, theirs if same else f"{theirs}, this MLflow needs {ours}", None if same else fix)
    tables = inspect(engine)
    lacking = [
        table for table in TABLES if all(index["column_names"][0] != "run_uuid" for index in tables.get_indexes(table))
    ]
    create = "; ".join(f"CREATE INDEX index_{table}_run_uuid ON {table} (run_uuid)" for table in lacking)
    found = f"none by run on {', '.join(lacking)}" if lacking else "all that matter"
    yield Fact("indexes", not lacking, found, create or None)


def _artifacts(uri: str, place: str) -> Fact:
    """Write a file at an experiment's place of artifacts and remove it; a failure is the line."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        with one_line_errors(uri), tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe")
            probe.write_bytes(b"lmc doctor")
            repository = get_artifact_repository(f"{place}/lmc-doctor-{uuid4().hex}", tracking_uri=uri)
            repository.log_artifact(str(probe))  # type: ignore[no-untyped-call]
            repository.delete_artifacts("probe")  # type: ignore[no-untyped-call]
    except LmcError as error:
        line, _, fix = str(error).rpartition("; ")
        return Fact("artifacts", False, f"{place}: cannot be written: {line}", fix)
    except Exception as error:  # of boto3 and other libraries of artifact stores, which are not installed here
        return Fact("artifacts", False, f"{place}: cannot be written: {' '.join(str(error).split())[:200]}")
    return Fact("artifacts", True, f"{place}: written, and removed again")
