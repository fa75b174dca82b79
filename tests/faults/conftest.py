"""The warm process, an empty project for it, and the study undisturbed; each made once."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest
from figures import lines
from small import Small, Warm, small_params


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow the tests that run the study in the warm process."""
    for item in items:
        if "warm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Small:
    """A project to copy: params.yaml, data, an empty store with its tables."""
    from lmc_repro.tracking.store import import_mlflow

    root = tmp_path_factory.mktemp("faults") / "project"
    root.mkdir()
    (root / "params.yaml").write_text(json.dumps(small_params()))
    import_mlflow("sqlite:///")
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{root}/mlflow.db").search_experiments()
    small = Small(root, warm)
    shutil.copy(root / "mlflow.db", root / "empty.db")
    small.run("prepare", "digits")
    return small


@pytest.fixture(scope="session")
def undisturbed(fresh: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, float]:
    """The project after `lmc run one`, and the seconds that took; for tests that read."""
    small = fresh.copy(tmp_path_factory.mktemp("undisturbed") / "project")
    begun = time.monotonic()
    small.study()
    return small, time.monotonic() - begun


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the groups that ran."""
    if figures := lines():
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(figures))
