"""Where a project is found: the nearest parent with a params.yaml, never the package's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import find_project


def test_nearest_parent_with_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only a params.yaml above the temporary folder could be found instead, and there is none on a sane machine.
    with pytest.raises(LmcError) as error:
        find_project(tmp_path)
    assert str(tmp_path.resolve()) in str(error.value) and "params.yaml" in str(error.value)
    inner = tmp_path / "outer" / "inner"
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "params.yaml").mkdir()  # a folder of that name is no project
    (tmp_path / "outer" / "params.yaml").touch()
    assert find_project(deep).root == (tmp_path / "outer").resolve()
    (inner / "params.yaml").touch()
    assert find_project(deep).root == find_project(inner).root == inner.resolve()
    monkeypatch.chdir(deep)
    assert find_project().params == inner.resolve() / "params.yaml"


def test_every_folder_lies_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    project = find_project(tmp_path)
    folders = (project.raw, project.prepared, project.working, project.runs, project.results, project.report)
    assert len(set(folders)) == len(folders)
    assert all(folder.is_relative_to(project.root) and not folder.exists() for folder in folders)
