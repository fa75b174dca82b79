"""Every test runs as the portable profile does: one thread, the same bits on any CPU with AVX2.

With LMC_TEST_NUMERICS=native as native profiles do: `training/test_native.py` starts such tests.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.common.numerics import choose_mode, use_one_thread

# Before anything imports torch: later it would do nothing.
choose_mode("native" if os.environ.get("LMC_TEST_NUMERICS") == "native" else "portable")
# Ray reads them when it is first imported, whichever test does that.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0123456789abcdef" * 4)
import pytest  # noqa: E402

from lmc_repro.common.project import Project  # noqa: E402
from lmc_repro.config import load  # noqa: E402
from lmc_repro.data.dataset import Dataset  # noqa: E402

if TYPE_CHECKING:
    from small import Warm

LONGEST = ("e2e/test_main_job.py", "faults", "docs", "known_answers", "e2e", "benchmarks", "training", "tracking")
"""Files and folders that take minutes, in this order before all others: none is left for one core alone at the end.

The first one makes the project that others of its folder wait for.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [f"{Path(__file__).parent.name}/{place}" for place in LONGEST]
    items.sort(key=lambda item: next((i for i, p in enumerate(places) if item.nodeid.startswith(p)), len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a worker a file, or all of tests/faults, whose files share a process and a study."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "faults" if "/faults/" in nodeid else str(super()._split_scope(nodeid))

    return Files(config, log)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    use_one_thread()
    yield


@pytest.fixture(autouse=True)
def _no_flush_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test survives a power cut; most of their time


@pytest.fixture(autouse=True, scope="session")
def _parsed_once() -> Iterator[None]:
    """A text of YAML is parsed once: the repository's params.yaml takes a quarter of a second, in a hundred tests."""
    parse, seen = load.parse_yaml, dict[tuple[str, str], bytes]()

    def parse_once(text: str, name: str) -> Any:
        if (text, name) not in seen:
            seen[text, name] = pickle.dumps(parse(text, name))
        return pickle.loads(seen[text, name])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "parse_yaml", parse_once)
        yield


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


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """The process in which tests of faults and of servers type their commands: torch and MLflow are imported once."""
    from small import Warm

    process = Warm()
    yield process
    process.process.communicate(timeout=60)


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
