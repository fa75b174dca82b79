"""Where a project lies: moved or copied, without git, and beside a params.yaml of another program."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commands import lmc, refused
from small_study import PARAMS

RUN = "a" * 32


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose store has nothing but an experiment that leads to another folder."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(json.dumps(PARAMS))
    with closing(sqlite3.connect(root / "mlflow.db")) as store, store:
        store.execute("CREATE TABLE runs (run_uuid)")
        store.execute("CREATE TABLE experiments (experiment_id, name, artifact_location, lifecycle_stage)")
        place = "file:///old/place/mlartifacts/one/tiny"
        store.execute("INSERT INTO experiments VALUES (1, 'lmc/one/tiny', ?, 'active')", (place,))
    monkeypatch.chdir(root)
    return root


COMMANDS = (
    "check --mark epoch.txt --plans plans",
    "list one",
    "ui",
    f"compare {RUN} {'b' * 32}",
    f"reproduce {RUN}",
    f"show {RUN}",
    "run one",
    "train one",
    "compare one",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_moved_project_is_one_line_with_the_fix_before_anything_is_written(words: str, project: Path) -> None:
    line = refused(*words.split())
    assert line.startswith(f"{project / 'mlflow.db'}: ") and line.endswith("`lmc doctor --fix-store`")
    assert "file:///old/place" in line
    assert sorted(path.name for path in project.iterdir() if path.name != ".lmc") == ["mlflow.db", "params.yaml"]


def test_the_doctor_refuses_where_the_artifacts_are_not(project: Path) -> None:
    assert refused("doctor", "--fix-store").startswith(f"{project}: no mlartifacts")


@pytest.mark.parametrize("words", ["check", "list one", "run one", "doctor --fix-store"])
def test_a_params_yaml_of_another_program_is_named(words: str, project: Path) -> None:
    (project / "params.yaml").write_text("lr: 0.1\n")
    assert refused(*words.split()).startswith(f"{project / 'params.yaml'}: ")


def test_a_run_of_a_named_store_needs_no_project_either(project: Path) -> None:
    (project / "params.yaml").write_text("lr: 0.1\n")
    store = f"sqlite:///{project / 'other.db'}"
    shutil.copy(project / "mlflow.db", project / "other.db")
    assert refused("show", RUN, "--tracking-uri", store).startswith(f"{store}: ")


def test_weight_files_need_no_project(project: Path) -> None:
    (project / "params.yaml").write_text("lr: 0.1\n")
    words = "barrier a.safetensors b.safetensors --model no_such_module:build --data digits"
    assert refused(*words.split()).startswith("--model no_such_module:build: ")


def test_a_folder_without_git_is_told_with_the_fix(project: Path) -> None:
    (project / "mlflow.db").unlink()
    assert lmc("check").err == ""
    (project / ".dvc").mkdir()
    code, _, err = lmc("check")
    assert (code, err.count("\n")) == (0, 1) and err.startswith(f"{project}: ") and "`git init`" in err
    (project / ".git").mkdir()
    assert lmc("check").err == ""
