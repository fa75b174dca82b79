"""Where a project is found: the nearest parent with a params.yaml, never the package's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import find_project


def test_nearest_parent_with_params(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "outer" / "params.yaml").touch()
    assert find_project(deep).root == (tmp_path / "outer").resolve()
    (inner / "params.yaml").touch()
    assert find_project(deep).root == inner.resolve()
    assert find_project(inner).root == inner.resolve()


def test_a_folder_called_params_yaml_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "inner" / "params.yaml").mkdir(parents=True)
    assert find_project(tmp_path / "inner").root == tmp_path.resolve()


def test_default_is_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_project().params == tmp_path.resolve() / "params.yaml"


def test_error_names_folder_and_file(tmp_path: Path) -> None:
    # Only a params.yaml above the temporary folder could be found instead, and there is none on a sane machine.
    with pytest.raises(LmcError) as error:
        find_project(tmp_path)
    message = str(error.value)
    assert str(tmp_path.resolve()) in message
    assert "params.yaml" in message
    assert "\n" not in message


def test_every_folder_lies_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    project = find_project(tmp_path)
    folders = (project.raw, project.prepared, project.working, project.runs, project.results, project.report)
    assert len(set(folders)) == len(folders)
    assert all(folder.is_relative_to(project.root) and not folder.exists() for folder in folders)
