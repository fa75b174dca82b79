"""What a store holds, looked at without changing it: MLflow itself would create or migrate a database it opens."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.tracking import names
from lmc_repro.tracking.database import open_read_only
from lmc_repro.tracking.environment import database_path, import_mlflow
from lmc_repro.tracking.failures import REBUILD, one_line_errors
from lmc_repro.tracking.processes import is_gone, project_run_is_gone


@dataclass(frozen=True)
class RunningRun:
    """A run that counts as RUNNING. `gone`: its process has ended; None where that cannot be known from here."""

    run_id: str
    name: str
    kind: str
    gone: bool | None


@dataclass(frozen=True)
class Survey:
    """A store: `experiments` gives the number of runs of each kind (`other`: none of ours) by experiment."""

    experiments: dict[str, dict[str, int]]
    locations: dict[str, str]
    running: tuple[RunningRun, ...]

    @property
    def stale(self) -> tuple[RunningRun, ...]:
        """The runs whose process is known to be gone."""
        return tuple(run for run in self.running if run.gone)


def survey(uri: str) -> Survey | None:
    """Return what the store at an address holds, None if it was not made yet; LmcError if it cannot be read."""
    database = database_path(uri)
    if database is None:
        return _ask_server(uri)
    return _read_database(database) if database.exists() else None


def end_stale(uri: str, found: Survey) -> list[str]:
    """Mark the stale runs as killed and return their ids; a later command may still resume them."""
    import_mlflow(uri)
    from mlflow import MlflowClient

    with one_line_errors(uri):
        client = MlflowClient(tracking_uri=uri)
        for run in found.stale:
            client.set_terminated(run.run_id, "KILLED")
    return [run.run_id for run in found.stale]


def _read_database(path: Path) -> Survey:
    try:
        with closing(open_read_only(path)) as connection:
            experiments = connection.execute(
                "SELECT experiment_id, name, artifact_location FROM experiments WHERE lifecycle_stage = 'active'"
            ).fetchall()
            kinds = connection.execute(
                "SELECT r.experiment_id, coalesce(t.value, 'other'), count(*) FROM runs r "
                "LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = ? "
                "WHERE r.lifecycle_stage = 'active' GROUP BY 1, 2",
                (names.KIND,),
            ).fetchall()
            running = connection.execute(
                "SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active' AND status = 'RUNNING'"
            ).fetchall()
            tags = {
                run: dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)).fetchall())
                for run, _ in running
            }
    except sqlite3.Error as error:
        raise LmcError(f"{path}: cannot be read as MLflow's store ({error}); {REBUILD}") from None
    counts: dict[str, dict[str, int]] = {name: {} for _, name, _ in experiments}
    titles = {number: name for number, name, _ in experiments}
    for number, kind, count in kinds:
        if number in titles:
            counts[titles[number]][kind] = count
    return Survey(
        counts,
        {name: location for _, name, location in experiments},
        tuple(_running(run, name, tags[run], local=True) for run, name in running),
    )


def _ask_server(uri: str) -> Survey:
    # Seconds, where MLflow would try again for minutes; before the import, which reads them.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    import_mlflow(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        with one_line_errors(uri):
            client = MlflowClient(tracking_uri=uri)
            experiments = client.search_experiments(filter_string=f"name LIKE '{names.EXPERIMENT_PREFIX}%'")
            runs = {e.name: client.search_runs([e.experiment_id], max_results=5000) for e in experiments}
    except MlflowException as error:
        raise LmcError(f"{uri}: {' '.join(str(error).split())[:200]}; check MLFLOW_TRACKING_URI") from None
    return Survey(
        {name: dict(Counter(run.data.tags.get(names.KIND, "other") for run in found)) for name, found in runs.items()},
        {e.name: e.artifact_location for e in experiments},
        tuple(
            _running(run.info.run_id, run.info.run_name, run.data.tags, local=False)
            for found in runs.values()
            for run in found
            if run.info.status == "RUNNING"
        ),
    )


def _running(run_id: str, name: str, tags: Mapping[str, Any], local: bool) -> RunningRun:
    kind = tags.get(names.KIND, "other")
    gone = is_gone(tags.get(names.PROCESS))
    if gone is None and local and tags.get("mlflow.source.type") == "PROJECT":
        kind, gone = "mlflow run", project_run_is_gone(run_id)
    return RunningRun(run_id, name, kind, gone)
