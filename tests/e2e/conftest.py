"""Projects that tests share, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import chromium, why_not
from three_doors import Doors, open_doors
from tiny_project import TinyProject, make_project

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A tiny project, nothing run in it yet; tests of a module share it, in order."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A tiny project, its doors open; for tests that read."""
    with open_doors(tmp_path_factory.mktemp("doors")) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    # Not for the session: while it runs, its thread has an event loop, in which no other test can start one.
    with chromium() as running:
        yield running
