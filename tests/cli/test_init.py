"""`lmc init` and `lmc schema`: a project that is right from the start, and no file overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import lmc, refused
from helpers import PARAMS

from lmc_repro.config.load import params_schema, read_yaml

FILES = {
    ".dvcignore", ".gitignore", "MLproject", "README.md", "dvc.yaml", "params.schema.json", "params.yaml",
}  # fmt: skip


def test_a_new_project_is_valid_and_names_its_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = lmc("init", "my project")
    assert said.code == 0 and [line.strip() for line in said.out.splitlines()[-3:]] == [
        "cd 'my project'", "lmc run depth", "lmc ui depth",
    ]  # fmt: skip
    root = tmp_path / "my project"
    assert {path.name for path in root.iterdir()} == FILES
    first = (root / "params.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=params.schema.json" == PARAMS.read_text().splitlines()[0]
    assert read_yaml(root / "MLproject")["name"] == "my-project"
    assert len((root / "README.md").read_text().splitlines()) == 10
    schema = (root / "params.schema.json").read_text()
    assert json.loads(schema) == params_schema()
    assert lmc("schema").out == schema  # outside of a project
    monkeypatch.chdir(root)
    assert lmc("schema").out == schema
    assert lmc("check", "--plans", "data/plans").code == 0
    plan = json.loads((root / "data/plans/depth.json").read_text())
    assert [cell["key"] for cell in plan["cells"]] == ["2-layer--sgd", "2-layer--adam", "8-layer--sgd", "8-layer--adam"]


@pytest.mark.parametrize("there", sorted(FILES))
def test_a_file_that_is_there_is_named_and_nothing_is_written(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine\n")
    assert there in refused("init", tmp_path).partition("has ")[2].partition(" already")[0].split(", ")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {there: "mine\n"}


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes.txt").write_text("mine\n")
    assert lmc("init", tmp_path).code == 0
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, ".git", "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine\n"
    assert str(tmp_path / "notes.txt") in refused("init", tmp_path / "notes.txt")
