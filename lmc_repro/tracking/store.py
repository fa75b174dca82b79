"""Opens the tracking store and the study's experiment, safely while other processes do the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from lmc_repro.errors import LmcError
from lmc_repro.tracking import names
from lmc_repro.tracking.environment import database_path, default_database, import_mlflow, tracking_uri
from lmc_repro.tracking.failures import REBUILD, check_database, one_line_errors
from lmc_repro.tracking.glance import Glance
from lmc_repro.tracking.view import publish_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from lmc_repro.project import Project
    from lmc_repro.schemas.plan import StudyPlan


@dataclass(frozen=True)
class Store:
    """An open store. Whoever creates runs or completes them holds `lock`, so that two processes never double one."""

    uri: str
    client: MlflowClient
    experiment: Experiment
    lock: FileLock
    glance: Glance

    def close(self) -> None:
        """Bring an sqlite store up to date in its one file, so that it can be copied."""
        self.glance.close()
        if (database := database_path(self.uri)) and database.exists():
            with closing(sqlite3.connect(database, timeout=60)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def open_store(project: Project, plan: StudyPlan, note: str) -> Store:
    """Open the store and the experiment `lmc/<study>/<profile>`, creating what is missing; LmcError if it is broken.

    A new sqlite store is created under a file lock: processes that create one side by side break each other's tables.
    """
    uri = tracking_uri(project.root)
    import_mlflow(uri)
    from mlflow import MlflowClient

    project.working.mkdir(parents=True, exist_ok=True)
    lock = FileLock(project.working / "mlflow.lock")
    with one_line_errors(uri), lock:
        if database := database_path(uri):
            check_database(database)
            if database in _TUNED:
                _check_there(database)
            if not database.exists():
                for end in ("-wal", "-shm"):  # of a store that was deleted without them
                    Path(f"{database}{end}").unlink(missing_ok=True)
            _commit_faster(database)
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, project, uri, plan, note)
        publish_view(client, experiment)
        if database:
            _check_there(database)
            _write_ahead(database)
    if database == default_database(project.root):
        _check_place(experiment, project)
    return Store(uri, client, experiment, lock, Glance(database))


def _check_there(database: Path) -> None:
    """LmcError if a store that this process has opened is no longer there: MLflow keeps it open as long as it lives."""
    if not database.exists():
        raise LmcError(f"{database}: deleted while this process had it open; start again and it is rebuilt")


def _experiment(client: MlflowClient, project: Project, uri: str, plan: StudyPlan, note: str) -> Experiment:
    name = names.experiment_name(plan)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        tags = {
            names.STUDY: plan.study,
            names.PROFILE: plan.profile,
            names.NOTE: note,
            "mlflow.experimentKind": "custom_model_development",
        }
        # A server knows where its artifacts go; anything else would put them below the working folder.
        location = None if uri.startswith("http") else _location(project, name).as_uri()
        return client.get_experiment(client.create_experiment(name, artifact_location=location, tags=tags))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if experiment.tags.get(names.NOTE) != note:
        client.set_experiment_tag(experiment.experiment_id, names.NOTE, note)
    return experiment


def _location(project: Project, name: str) -> Path:
    return project.root / "mlartifacts" / name.removeprefix(names.EXPERIMENT_PREFIX)


def _check_place(experiment: Experiment, project: Project) -> None:
    """LmcError if the project was moved or copied: its store would go on reading and writing at the old place."""
    expected = _location(project, experiment.name).as_uri()
    if experiment.artifact_location != expected:
        raise LmcError(
            f"{default_database(project.root)}: its artifacts lie at {experiment.artifact_location}, not below "
            f"{project.root}: the project was moved or copied; {REBUILD}"
        )


_TUNED: set[Path] = set()


def _commit_faster(database: Path) -> None:
    """Let this process's connections to `database` commit without waiting for the disk at each of thousands of steps.

    With the write-ahead log a power cut may lose the last commits, never the database; runs/ holds all of it.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not _TUNED:
        event.listen(Engine, "connect", _tune)
    _TUNED.add(database)


def _tune(connection: Any, record: object) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    if file and Path(file) in _TUNED:
        connection.execute("PRAGMA synchronous = NORMAL")


def _write_ahead(database: Path) -> None:
    """Keep a write-ahead log (a property of the file), so that readers such as the UI and writers do not wait."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
