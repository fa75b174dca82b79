"""The project that the tests of a module share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import tiny_project`

from tiny_project import TinyProject, make_project


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A tiny project, nothing run in it yet; tests of a module share it, in order."""
    return make_project(tmp_path_factory.mktemp("project"))
