"""Projects that others copy to run them: DVC for its experiments, MLflow for a git address."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from project_run import SUCCEEDED, check_project_run
from small import remove
from tiny_project import Finished, TinyProject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def committed(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A tiny project of one cell, committed, its data prepared; nothing of the cell was run or logged."""
    project = finished.copy(tmp_path_factory.mktemp("committed") / "project")
    for name in ("mlflow.db", "mlartifacts", ".lmc"):
        remove(project.root / name)
    params = project.params()
    params["profiles"]["digits"]["pairs"] = 1
    study = params["studies"]["table1"]
    study["rows"] = {"1-layer-bs1024": study["rows"]["1-layer-bs1024"]}
    study["columns"] = {"sgd-high": study["columns"]["sgd-high"]}
    params["exhibits"] = {}
    project.write_params(params)
    pipeline = project.root / "dvc.yaml"
    pipeline.write_text(re.sub(r"\[digits, .*\]", "[digits]", pipeline.read_text()))
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("add", "-A"), ("commit", "-qm", "all"), ("branch", "-M", "main")):
        subprocess.run([*git, *words], cwd=project.root, check=True)
    return project


def stored(database: Path, query: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        return store.execute(query).fetchall()


KINDS = "SELECT value, count(*) FROM tags WHERE key = 'lmc.kind' GROUP BY value"


def test_a_queued_experiment_publishes_into_the_projects_store(committed: TinyProject) -> None:
    rate = "params.yaml:profiles.digits.optimizers.sgd-high.lr=0.02"
    author = ("env", *(f"GIT_{who}_{what}=a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")))
    committed.ok(*author, "dvc", "exp", "run", "--queue", "--name", "one", "-S", rate)
    committed.ok(*author, "dvc", "exp", "run", "--run-all")
    database = committed.root / "mlflow.db"
    assert dict(stored(database, KINDS)) == {"cell": 1, "pair": 1, "train": 2}
    places = stored(database, "SELECT artifact_uri FROM runs JOIN tags USING (run_uuid) WHERE key = 'lmc.kind'")
    here = f"{(committed.root / 'mlartifacts').as_uri()}/"
    assert all(place.startswith(here) for (place,) in places)
    committed.ok("dvc", "exp", "apply", "one")
    assert "1 cell of sqlite" in committed.lmc("list", "table1")
    committed.lmc("verify", "table1")


def test_a_git_address_leaves_its_results_with_the_caller(committed: TinyProject, tmp_path: Path) -> None:
    address = "https://example.invalid/project.git"
    elsewhere = (
        "env",
        "GIT_CONFIG_COUNT=1",
        f"GIT_CONFIG_KEY_0=url.{committed.root}.insteadOf",
        f"GIT_CONFIG_VALUE_0={address}",
    )
    caller = TinyProject(tmp_path)
    printed = caller.ok(*elsewhere, "mlflow", "run", address, "--env-manager", "local", "-P", "study=table1")
    (run,) = SUCCEEDED.findall(printed)
    (clone,) = re.findall(r"=== Fetching project from \S+ into (\S+) ===", printed)
    kept = tmp_path / "mlruns" / "0" / run / "artifacts"
    assert (kept / "report" / "index.html").is_file() and (kept / "results" / "table1" / "cells.json").is_file()
    assert "trained 2, reused 0, resumed 0" in printed
    check_project_run(tmp_path, run, {"1-layer-bs1024--sgd-high"})
    assert dict(stored(tmp_path / "mlflow.db", KINDS)) == {"cell": 1, "pair": 1, "train": 2}
    for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
        places = stored(tmp_path / "mlflow.db", f"SELECT {column} FROM {table}")
        assert places and not any(clone in place for (place,) in places)
