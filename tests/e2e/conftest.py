"""The project that the tests of a module share."""

from __future__ import annotations

import pytest
from tiny_project import TinyProject, make_project


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A tiny project, nothing run in it yet; tests of a module share it, in order."""
    return make_project(tmp_path_factory.mktemp("project"))
