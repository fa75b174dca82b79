"""`mlflow run .` as a user types it, without pyenv on PATH, and what its run leads to."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from tiny_project import TinyProject

from lmc_repro.tracking.store import import_mlflow

CELLS = {f"{row}--{column}" for row in ("1-layer-bs1024", "2-layer-bs1024") for column in ("sgd-high", "adam-high")}
LINK = re.compile(r"\(#/experiments/(\d+)/runs/([0-9a-f]{32})\)")
SUCCEEDED = re.compile(r"=== Run \(ID '([0-9a-f]{32})'\) succeeded ===")


def mlflow_run(project: TinyProject, *arguments: str) -> tuple[str, str]:
    """Run the project by MLflow with its address left to MLflow; return what was printed and the project run's id."""
    folders = [Path(sys.executable).parent, *map(Path, os.environ["PATH"].split(os.pathsep))]
    path = os.pathsep.join(str(folder) for folder in folders if not (folder / "pyenv").exists())
    assert shutil.which("pyenv", path=path) is None
    printed = project.ok("env", f"PATH={path}", "mlflow", "run", ".", "--env-manager", "local", *arguments)
    (run_id,) = SUCCEEDED.findall(printed)
    return printed, run_id


def client(root: Path) -> Any:
    """Return a client of the store of a folder."""
    import_mlflow("sqlite:///")  # with its deprecation warnings kept quiet
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def check_project_run(root: Path, run_id: str, cells: set[str] = CELLS) -> None:
    """Assert that a project run is finished, that these cells carry it, and that its note leads to them."""
    store = client(root)
    own = store.get_run(run_id)
    assert own.info.status == "FINISHED"
    assert (own.info.experiment_id, own.data.metrics) == ("0", {})  # nothing of ours went into it
    note = own.data.tags["mlflow.note.content"]
    found = set()
    for experiment, cell_run in LINK.findall(note):
        run = store.get_run(cell_run)
        assert run.info.experiment_id == experiment
        assert run.info.status == "FINISHED"
        assert run.data.tags["lmc.project_run"] == run_id
        assert f"/{cell_run}) | {run.data.metrics['barrier/test']:.2f} | " in note
        found.add(run.data.tags["lmc.cell"])
    assert found == cells


def count_runs(root: Path) -> dict[str, int]:
    """Return how many runs of each kind the study has, all of them finished."""
    store = client(root)
    runs = store.search_runs([store.get_experiment_by_name("lmc/table1/digits").experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    kinds = [run.data.tags["lmc.kind"] for run in runs]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
