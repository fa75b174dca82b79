"""What of the environment the tracking reads, and mlflow imported without its chatter."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from pathlib import Path
from urllib.parse import unquote

TRACKING_URI = "MLFLOW_TRACKING_URI"
PROJECT_RUN = "LMC_PROJECT_RUN"


def take_project_run() -> str | None:
    """Return the run of the MLflow project that started us, if any, and keep it from leaking into our own runs.

    `mlflow run` sets MLFLOW_RUN_ID and MLFLOW_EXPERIMENT_ID, which every MLflow call below it, in children too, would
    take for its own. The id goes on under another name.
    """
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    if run := os.environ.pop("MLFLOW_RUN_ID", None):
        os.environ[PROJECT_RUN] = run
    return os.environ.get(PROJECT_RUN)


def default_database(root: Path) -> Path:
    """Return the store of a project on which nothing else was wished for."""
    return root / "mlflow.db"


def tracking_uri(root: Path, uri: str | None = None) -> str:
    """Return `uri`, or MLFLOW_TRACKING_URI, or the project's own store; absolute, whatever the working folder."""
    uri = uri or os.environ.get(TRACKING_URI) or "sqlite:///mlflow.db"
    scheme, slashes, path = uri.partition(":///")
    if scheme == "sqlite" and slashes and not path.startswith("/"):
        return "sqlite:///" + str(root / path).replace("%", "%25").replace("?", "%3F")
    return uri


def database_path(uri: str) -> Path | None:
    """Return the file of a sqlite address, None for any other."""
    return Path(unquote(uri.removeprefix("sqlite:///"))) if uri.startswith("sqlite:///") else None


def import_mlflow(uri: str) -> None:
    """Import mlflow and its store for `uri`: no usage statistics, no bars, no lines about the tables of a new store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for each file that a server gives
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # between mlflow and its own libraries
        importlib.import_module("mlflow")
        if database_path(uri):
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # failures.py says it in one line
