"""Projects that tests share, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import chromium, why_not
from filelock import FileLock
from three_doors import Doors, open_doors
from tiny_project import Finished, TinyProject, make_project

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished tiny project, made once for all workers: of 12 pairs, since MLflow draws the first 10 by itself."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root, printed = base / "finished", base / "finished.txt"
    with FileLock(base / "finished.lock"):
        if not printed.exists():
            root.mkdir()
            project = make_project(root)
            params = project.params()
            params["profiles"]["digits"]["pairs"] = 3
            project.write_params(params)
            printed.write_text(project.ok("dvc", "repro"))
    return Finished(TinyProject(root), printed.read_text())


@pytest.fixture(scope="module")
def tiny(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A copy of the finished tiny project; tests of a module share it, in order."""
    return finished.copy(tmp_path_factory.mktemp("tiny") / "project")


@pytest.fixture(scope="session")
def doors(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A tiny project, its doors open; for tests that read."""
    with open_doors(finished, tmp_path_factory.mktemp("doors") / "project") as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    # Not for the session: while it runs, its thread has an event loop, in which no other test can start one.
    with chromium() as running:
        yield running
