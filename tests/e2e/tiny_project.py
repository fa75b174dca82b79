"""A project of its own: the repository's code and stages, a study of seconds, and commands as a user types them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import lmc
from ruamel.yaml import YAML

from lmc_repro.common.project import Project
from lmc_repro.tracking.moved import fix_store

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class TinyProject:
    """A folder with params.yaml, dvc.yaml and the package, in which commands are run as a user would."""

    root: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this environment's `lmc` and `dvc` first on PATH; stderr is in stdout."""
        with self.start(*command) as process:
            printed, _ = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, printed)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command as `run` does, in a process group of its own, without waiting for it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LMC_"))}
        environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "COLUMNS": "160",
        }
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ok(self, *command: str) -> str:
        """Run a command that must succeed and return what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fails(self, *command: str, code: int = 2) -> str:
        """Run a command that must fail with `code` and no traceback, and return what it printed."""
        done = self.run(*command)
        assert done.returncode == code, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def lmc(self, *words: str, code: int = 0) -> str:
        """Run `lmc` in this process, where neither the start of one nor what it inherits is in question."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
                patch.delenv(name, raising=False)
            patch.setenv("COLUMNS", "160")
            patch.chdir(self.root)
            found = lmc(*words)
        assert found.code == code, found
        return found.out + found.err

    def params(self) -> Any:
        return YAML(typ="safe", pure=True).load((self.root / "params.yaml").read_text())

    def write_params(self, params: Any) -> None:
        with open(self.root / "params.yaml", "w") as file:
            YAML(typ="safe", pure=True).dump(params, file)


@dataclass(frozen=True)
class Finished:
    """A tiny project of 3 pairs per cell after `dvc repro`, to read and to copy; `printed` is what DVC printed."""

    project: TinyProject
    printed: str

    def copy(self, root: Path) -> TinyProject:
        """Return a copy of the project at a place that is not there yet, its store led there."""
        shutil.copytree(self.project.root, root)
        fix_store(Project(root))
        return TinyProject(root)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tiny_params() -> Any:
    """Return the repository's params.yaml with table1 cut to 2 x 2 cells, 3 epochs, 1 pair."""
    params = YAML(typ="safe", pure=True).load((REPOSITORY / "params.yaml").read_text())
    profile = params["profiles"]["digits"]
    profile["pairs"] = 1
    profile["settings"]["model"]["width"] = 16
    profile["settings"] |= {"epochs": 3, "evaluate_at": [0, 1, 3]}
    params["studies"] = {"table1": params["studies"]["table1"]}
    for other in params["profiles"].values():
        other["overrides"] = [override for override in other["overrides"] if override["study"] == "table1"]
    params["exhibits"] = {"figure4": params["exhibits"]["figure4"]}
    for each in params["profiles"].values():
        each["overrides"] = [change for change in each["overrides"] if change["study"] == "table1"]
    study = params["studies"]["table1"]
    study["rows"] = {key: study["rows"][key] for key in ("1-layer-bs1024", "2-layer-bs1024")}
    study["columns"] = {key: study["columns"][key] for key in ("sgd-high", "adam-high")}
    return params


def make_project(root: Path) -> TinyProject:
    """Return a tiny project in the empty folder `root`, nothing run in it yet."""
    for name in ("lmc_repro", ".dvc"):
        ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp")
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "MLproject", "python_env.yaml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    pipeline, used_and_not = root / "dvc.yaml", "[digits, mnist]"
    pipeline.write_text(re.sub(r"\[digits, .*\]", used_and_not, pipeline.read_text()))
    project = TinyProject(root)
    project.write_params(tiny_params())
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return project
