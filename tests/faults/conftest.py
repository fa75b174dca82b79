"""An empty project for the warm process, and the study undisturbed; each made once."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small import FIGURES, Small, Warm, small_params


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow the tests that run the study in the warm process."""
    for item in items:
        if "warm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


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
def whole(fresh: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The project after `lmc run one`, undisturbed; for tests that read."""
    small, begun = fresh.copy(tmp_path_factory.mktemp("undisturbed") / "project"), time.monotonic()
    small.run("run", "one", "--jobs", "2")
    return replace(small, seconds=time.monotonic() - begun)


@pytest.fixture
def small(fresh: Small, tmp_path: Path) -> Small:
    """A project of the test's own, nothing run in it yet."""
    return fresh.copy(tmp_path / "project")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the groups that ran."""
    if FIGURES:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(f"{group}: {figures}" for group, figures in FIGURES.items()))
