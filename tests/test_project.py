"""Where a project is found: the nearest parent with a params.yaml of ours, never the package's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project, find_project, missing_git

OURS = "profile: digits\nprofiles: {}\nstudies: {}\n"


def test_nearest_parent_with_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only a params.yaml above the temporary folder could be found instead, and there is none on a sane machine.
    with pytest.raises(LmcError) as error:
        find_project(tmp_path)
    assert str(tmp_path.resolve()) in str(error.value) and "params.yaml" in str(error.value)
    inner = tmp_path / "outer" / "inner"
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "params.yaml").mkdir()  # a folder of that name is no project
    (tmp_path / "outer" / "params.yaml").write_text(OURS)
    assert find_project(deep).root == (tmp_path / "outer").resolve()
    (inner / "params.yaml").write_text(OURS)
    assert find_project(deep).root == find_project(inner).root == inner.resolve()
    monkeypatch.chdir(deep)
    assert find_project().params == inner.resolve() / "params.yaml"


FOREIGN = ["", "lr: 0.1\nmodel: {width: 3}\n", "# studies: none\n", "train:\n  case_studies: 3\n"]


@pytest.mark.parametrize("text", FOREIGN)
def test_a_params_yaml_of_another_program_is_no_project(text: str, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "params.yaml").write_text(text)
    with pytest.raises(LmcError) as error:
        find_project(deep)
    assert str(error.value).startswith(f"{deep.resolve() / 'params.yaml'}: ")
    (tmp_path / "params.yaml").write_text(OURS)
    assert find_project(deep).root == tmp_path.resolve()


@pytest.mark.parametrize(
    "text", [OURS.removesuffix("tudies: {}\n"), '{"profile": "x", "studies": {}}', "'profiles' : [", "studies: {\n\x00"]
)
def test_a_damaged_or_otherwise_written_params_yaml_is_ours(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    assert find_project(tmp_path).root == tmp_path.resolve()
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe")
    assert find_project(tmp_path).root == tmp_path.resolve()


def test_every_folder_lies_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(OURS)
    project = find_project(tmp_path)
    folders = (project.raw, project.prepared, project.working, project.runs, project.results, project.report)
    assert len(set(folders)) == len(folders)
    assert project.home == project.root
    assert all(folder.is_relative_to(project.root) and not folder.exists() for folder in folders)


@pytest.mark.parametrize("copy", ["tmp4q_2", "standalone/tmp4q_2"])
@pytest.mark.parametrize("inside", ["", "vision/lmc"])
def test_a_copy_of_dvc_shares_store_and_working_files_with_its_project(copy: str, inside: str, tmp_path: Path) -> None:
    copied = Project(tmp_path / ".dvc" / "tmp" / "exps" / copy / inside)
    assert copied.home == copied.root, "no project is behind it"
    original = tmp_path / inside
    original.mkdir(parents=True, exist_ok=True)
    (original / "params.yaml").write_text(OURS)
    assert copied.home == original
    assert copied.working == Project(original).working and copied.raw == Project(original).raw
    assert {copied.runs, copied.results, copied.prepared, copied.params} == {
        copied.root / name for name in ("runs", "results", "data/prepared", "params.yaml")
    }


def test_dvc_needs_a_git_repository_or_to_be_told(tmp_path: Path) -> None:
    root = tmp_path / "a" / "project"
    root.mkdir(parents=True)
    project = Project(root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    assert missing_git(project) is None, "without .dvc the project does not use DVC"
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    line = missing_git(project)
    assert line is not None and line.startswith(f"{root}: ") and "git init" in line and "\n" not in line
    (root / ".dvc" / "config.local").write_text("[core]\n    no_scm = True\n")
    assert missing_git(project) is None
    (root / ".dvc" / "config.local").unlink()
    (tmp_path / "a" / ".git").mkdir()
    assert missing_git(project) is None
