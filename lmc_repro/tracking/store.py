"""The tracking store: environment, address, errors of one line, processes that write it, and opening it safely."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote
from uuid import uuid4

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_atomic
from lmc_repro.tracking import names

if TYPE_CHECKING:
    from filelock import FileLock
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from lmc_repro.common.project import Project
    from lmc_repro.config.plan import StudyPlan

TRACKING_URI = "MLFLOW_TRACKING_URI"
_SCHEMES = {"sqlite", "postgresql", "mysql", "mssql", "http", "https"}
PROJECT_RUN = "LMC_PROJECT_RUN"
ARTIFACTS = "mlartifacts"
"""The folder of all artifacts, beside the database."""


def take_project_run() -> str | None:
    """Return the run of the MLflow project that started us, if any, and keep it from leaking into our own runs.

    `mlflow run` sets MLFLOW_RUN_ID and MLFLOW_EXPERIMENT_ID, which every MLflow call below it, in child processes too,
    would take for its own. The id goes on under another name.
    """
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    if run := os.environ.pop("MLFLOW_RUN_ID", None):
        os.environ[PROJECT_RUN] = run
    return os.environ.get(PROJECT_RUN)


def default_database(root: Path) -> Path:
    """Return the default store of a project."""
    return root / "mlflow.db"


def tracking_uri(root: Path, uri: str | None = None) -> str:
    """Return `uri`, or MLFLOW_TRACKING_URI, or the project's own store; absolute, whatever the working folder.

    Raises:
        LmcError: It names neither a database nor a server; folders of files are MLflow's former store.
    """
    uri = uri or os.environ.get(TRACKING_URI) or "sqlite:///mlflow.db"
    scheme, _, path = uri.partition("://")
    if scheme.partition("+")[0] not in _SCHEMES or not path.strip("/") or (scheme == "sqlite" and path[0] != "/"):
        raise LmcError(
            f"MLflow's store: found {uri!r}, allowed: sqlite:///FILE.db, http://HOST:PORT, https://HOST, or another "
            f"database's address; set {TRACKING_URI} or --tracking-uri, or unset them to use mlflow.db"
        )
    if scheme == "sqlite" and not path.startswith("//"):
        return "sqlite:///" + str(root / path[1:]).replace("%", "%25").replace("?", "%3F")
    return uri


def database_path(uri: str) -> Path | None:
    """Return the file of a sqlite address, None for any other."""
    return Path(unquote(uri.removeprefix("sqlite:///"))) if uri.startswith("sqlite:///") else None


def import_mlflow(uri: str) -> None:
    """Import mlflow and its store for `uri`: no usage statistics, no bars, no lines about the tables of a new store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for each file that a server gives
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # one for each run that a server gets
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # between mlflow and its own libraries
        importlib.import_module("mlflow")
        if not uri.startswith("http"):
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # one_line_errors says it


REBUILD = "delete mlflow.db and mlartifacts and compare again: they are rebuilt from runs/"

_ANSWERS = {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE"}
"""Codes with which a sound store refuses a request; any other is trouble with the store."""

_FIXES = (
    (("disk is full", "disk I/O error"), "free some space, or repair the disk, and run again"),  # the store is whole
    (
        ("out-of-date database schema",),
        "another MLflow wrote it: `mlflow db upgrade` if the installed one is newer, else install that one",
    ),
    (
        ("error code 401", "error code 403"),
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    (("Can't load plugin",), "correct MLFLOW_TRACKING_URI"),
    (("error code 404", "valid JSON"), "no MLflow server of version 3 answers there; correct MLFLOW_TRACKING_URI"),
)
"""Words of an error, and what to do about it."""


class NoStore(LmcError):
    """The store is not there yet."""


def check_database(path: Path) -> None:
    """Raise LmcError if sqlite cannot read or write the file; MLflow itself would try again for minutes."""
    if not path.parent.is_dir():
        raise LmcError(f"{path}: there is no folder {path.parent}; make it, or set {TRACKING_URI} to another store")
    place = path if path.exists() else path.parent
    if not os.access(place, os.R_OK | os.W_OK):
        raise LmcError(f"{place}: cannot be written; fix its permissions, or set MLFLOW_TRACKING_URI to another store")
    if path.exists():
        try:
            _execute(path, "SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            raise LmcError(f"{path}: not a database that sqlite can read ({error}); {REBUILD}") from None


def without_password(uri: str) -> str:
    """Return an address as it may be printed."""
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", uri)


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn errors of a broken, unreachable or full store into an LmcError with the address and the fix."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    address = without_password(uri)
    fix = REBUILD if uri.startswith("sqlite:") else "start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"
    try:
        yield
    except ImportError as error:
        raise LmcError(f"{address}: its driver is not installed ({error}); pip install {error.name}") from None
    except (MlflowException, SQLAlchemyError) as error:
        if isinstance(error, MlflowException) and error.error_code in _ANSWERS:
            raise
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        # Refused, unknown host, timeout: MLflow reports each with the whole chain of its libraries' errors.
        if "failed with exception" in line:
            failed = re.search(r"too many (\d+) error responses", line)
            line = f"answers with error {failed[1]} only" if failed else "does not answer"
        fix = next((known for words, known in _FIXES if any(word in str(error) for word in words)), fix)
        raise LmcError(f"{address}: {line[:300]}; {fix}") from error
    except OSError as error:
        if error.filename is None:
            raise
        raise LmcError(f"{error.filename}: {error.strerror}; free some space or fix the permissions") from error


def project_run_is_gone(run_id: str) -> bool | None:
    """Return whether no process here belongs to a run that `mlflow run` began; None where that is not known.

    Processes of an MLflow project have the run's id in their environment. A living `mlflow run` of any project may
    be about to start one.
    """
    import psutil

    if not psutil.LINUX:
        return None
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"]
        if environment is None:
            continue  # another user's
        if run_id in (environment.get("MLFLOW_RUN_ID"), environment.get("LMC_PROJECT_RUN")):
            return False
        if "run" in command and any(word.endswith("mlflow") for word in command[:3]):
            return None
    return True


@dataclass(frozen=True)
class Store:
    """An open store. Whoever creates runs or completes them holds `lock`, so that two processes never double one.

    The lock is one of the project's folder. In a store that other folders may share, `writer` names ours; else None.
    """

    uri: str
    client: MlflowClient
    experiment: Experiment
    lock: FileLock
    writer: str | None = None
    _name: str = field(default_factory=lambda: uuid4().hex)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, and give whether it was ours the last time, too; LmcError where the store cannot be used."""
        with one_line_errors(self.uri), self.lock:
            last = Path(self.lock.lock_file).with_suffix(".last")
            if not (again := last.exists() and last.read_text() == self._name):
                last.write_text(self._name)
            yield again

    def close(self) -> None:
        """Bring an sqlite store up to date in its one file, so that it can be copied."""
        if (database := database_path(self.uri)) and database.exists():
            _execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")


def connect(uri: str) -> MlflowClient:
    """Return MLflow's client of a store; LmcError within seconds where a server is dead, closed to us or another."""
    import_mlflow(uri)
    from mlflow import MlflowClient

    with one_line_errors(uri):
        if not uri.startswith("http") and database_path(uri) is None:
            from sqlalchemy import NullPool, create_engine

            create_engine(uri, poolclass=NullPool).connect().close()  # MLflow itself would try for minutes, in silence
        client = MlflowClient(tracking_uri=uri)
        if uri.startswith("http"):
            with impatience():
                client.search_logged_models(["0"], max_results=1)  # which servers before version 3 do not have
    return client


_DOUBLED = ("IntegrityError", "UniqueViolation")
"""Names in the error of a row that is there already: of sqlite and others, and of psycopg2."""


def insist(call: Callable[..., None], *arguments: Any, **named: Any) -> None:
    """Repeat a request that failed as another client inserted the same row (a data set, a view's tag) just now."""
    from mlflow.exceptions import MlflowException

    for _ in range(4):
        try:
            return call(*arguments, **named)
        except MlflowException as error:
            if error.error_code in _ANSWERS or not any(name in str(error) for name in _DOUBLED):
                raise
    return call(*arguments, **named)


_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


@contextmanager
def impatience() -> Iterator[None]:
    """Let MLflow try a request once, for seconds; by default it tries for minutes."""
    before = {name: os.environ.get(name) for name in _IMPATIENT}
    os.environ.update({name: before[name] or value for name, value in _IMPATIENT.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def require_store(project: Project) -> None:
    """Raise LmcError, before any work, where the store cannot be used; one that is not there yet can be made."""
    uri = tracking_uri(project.home)
    require_in_place(project.home, uri)
    if database := database_path(uri):
        check_database(database)
        if not database.exists():
            return
    with store_lock(project):
        connect(uri)


def store_lock(project: Project) -> FileLock:
    """Return the lock of whoever writes the store from a project's folder."""
    from filelock import FileLock

    project.working.mkdir(parents=True, exist_ok=True)
    return FileLock(project.working / "mlflow.lock")


def _writer(project: Project) -> str:
    """Return the name of the project's folder: it stays when the folder is moved, and a copy has another."""
    file = project.working / "writer"
    if not file.exists():
        write_atomic(file, uuid4().hex[:16].encode())
    return f"{file.read_text()}-{project.working.stat().st_ino}"


def open_store(project: Project, plan: StudyPlan, note: str) -> Store:
    """Open the store and the experiment `lmc/<study>/<profile>`, creating what is missing; LmcError if it is broken.

    A new sqlite store is created under a file lock: processes that create one side by side break each other's tables.
    """
    uri = tracking_uri(project.home)
    require_in_place(project.home, uri)
    import_mlflow(uri)
    lock = store_lock(project)
    with one_line_errors(uri), lock:
        if database := database_path(uri):
            check_database(database)
            if database in _TUNED:
                _check_there(database)
            if not database.exists():
                for end in ("-wal", "-shm"):  # of a store that was deleted without them
                    Path(f"{database}{end}").unlink(missing_ok=True)
            _commit_faster(database)
        client = connect(uri)
        experiment = _experiment(client, project, uri, plan, note)
        if database:
            _check_there(database)
            # A property of the file, so that readers such as the UI and writers do not wait.
            _execute(database, "PRAGMA journal_mode = WAL")
        writer = None if database == default_database(project.home) else _writer(project)
    if database == default_database(project.home) and experiment.artifact_location != _location(
        project.home, experiment.name
    ):
        raise LmcError(
            f"{database}: its artifacts lie at {experiment.artifact_location}, not below {project.home}; {REBUILD}"
        )
    return Store(uri, client, experiment, lock, writer)


def other_folders(home: Path) -> list[str]:
    """Return the addresses of other project folders to which the store in `home` leads; none for a store in place.

    None either for one that is not there or cannot be read: whoever opens it reports that.
    """
    query = "SELECT name, artifact_location FROM experiments WHERE name LIKE ?"
    try:
        place = f"file:{quote(str(default_database(home)))}?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=5)) as store:
            rows = store.execute(query, (f"{names.EXPERIMENT_PREFIX}%",)).fetchall()
    except sqlite3.Error:
        return []
    tails = ((there, quote(f"/{ARTIFACTS}/{name.removeprefix(names.EXPERIMENT_PREFIX)}")) for name, there in rows)
    folders = {
        there.removesuffix(tail) for there, tail in tails if there.startswith("file://") and there.endswith(tail)
    }
    return sorted(folders - {home.as_uri()})


def require_in_place(home: Path, uri: str) -> None:
    """Raise LmcError if `uri` is the project's own store and leads to another folder, to read and to write there."""
    database = default_database(home)
    if database_path(uri) == database and (others := other_folders(home)):
        raise LmcError(
            f"{database}: its artifacts lie below {others[0]}, not {home}: the project was moved or copied; "
            "`lmc doctor --fix-store`"
        )


def _check_there(database: Path) -> None:
    """Raise LmcError if a store opened by this process is gone: MLflow keeps it open until the process ends."""
    if not database.exists():
        raise LmcError(f"{database}: deleted while this process had it open; start again and it is rebuilt")


def _experiment(client: MlflowClient, project: Project, uri: str, plan: StudyPlan, note: str) -> Experiment:
    from mlflow.exceptions import MlflowException

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
        database = database_path(uri)
        location = None if uri.startswith("http") else _location(database.parent if database else project.home, name)
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException as error:  # another folder made it just now
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return _experiment(client, project, uri, plan, note)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if experiment.tags.get(names.NOTE) != note:
        client.set_experiment_tag(experiment.experiment_id, names.NOTE, note)
    return experiment


def _location(folder: Path, name: str) -> str:
    """Return the place of an experiment's artifacts: beside its database, which may outlive the project's folder."""
    return (folder / ARTIFACTS / name.removeprefix(names.EXPERIMENT_PREFIX)).as_uri()


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


def _execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute(statement)
