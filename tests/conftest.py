"""Every test runs as the portable profile does: one thread, the same bits on any CPU with AVX2.

With LMC_TEST_NUMERICS=native as native profiles do: `training/test_native.py` starts such tests.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_repro.common.numerics import choose_mode, use_one_thread

# Before anything imports torch: later it would do nothing.
choose_mode("native" if os.environ.get("LMC_TEST_NUMERICS") == "native" else "portable")
import pytest  # noqa: E402

from lmc_repro.common.project import Project  # noqa: E402
from lmc_repro.data.dataset import Dataset  # noqa: E402

if TYPE_CHECKING:
    from small import Warm


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    use_one_thread()
    yield


@pytest.fixture(autouse=True)
def _no_flush_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test survives a power cut; most of their time


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The embedded digits, in memory only."""
    from helpers import read_digits

    return read_digits()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sqlite store with MLflow's tables and nothing of ours, to be copied: creating one takes seconds."""
    from lmc_repro.tracking.store import import_mlflow

    import_mlflow("sqlite:///")
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, digits: Dataset) -> Path:
    """The working folder of a project to be: digits prepared but for FFCV's files, a store with its tables."""
    from trained_store import write_prepared

    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path)
    write_prepared(Project(tmp_path), digits)
    return tmp_path


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A process that has everything imported, for tests that run many commands."""
    from small import Warm

    process = Warm()
    yield process
    process.process.communicate(timeout=60)
