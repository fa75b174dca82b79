"""`mlflow run .` as a user types it, without pyenv on PATH. The tests of this file build on one another, in order."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tiny_project import TinyProject

from lmc_repro.tracking.store import import_mlflow

pytestmark = pytest.mark.slow

CELLS = {f"{row}--{column}" for row in ("1-layer-bs1024", "2-layer-bs1024") for column in ("sgd-high", "adam-high")}
LINK = re.compile(r"\(#/experiments/(\d+)/runs/([0-9a-f]{32})\)")


def mlflow_run(project: TinyProject, *arguments: str) -> tuple[str, str]:
    """Run the project by MLflow with its address left to MLflow; return what was printed and the project run's id."""
    folders = [Path(sys.executable).parent, *map(Path, os.environ["PATH"].split(os.pathsep))]
    path = os.pathsep.join(str(folder) for folder in folders if not (folder / "pyenv").exists())
    assert shutil.which("pyenv", path=path) is None
    printed = project.ok("env", f"PATH={path}", "mlflow", "run", ".", "--env-manager", "local", *arguments)
    (run_id,) = re.findall(r"=== Run \(ID '([0-9a-f]{32})'\) succeeded ===", printed)
    return printed, run_id


def client(project: TinyProject) -> Any:
    import_mlflow("sqlite:///")  # with its deprecation warnings kept quiet
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")


def check_project_run(project: TinyProject, run_id: str) -> None:
    """Assert that a project run is finished, that all four cells carry it, and that its note leads to them."""
    store = client(project)
    own = store.get_run(run_id)
    assert own.info.status == "FINISHED"
    assert (own.info.experiment_id, own.data.metrics) == ("0", {})  # nothing of ours went into it
    note = own.data.tags["mlflow.note.content"]
    found = {}
    for experiment, cell_run in LINK.findall(note):
        run = store.get_run(cell_run)
        assert run.info.experiment_id == experiment
        assert run.info.status == "FINISHED"
        assert run.data.tags["lmc.project_run"] == run_id
        found[run.data.tags["lmc.cell"]] = f"{run.data.metrics['barrier/test']:.2f}"
        assert f"/{cell_run}) | {found[run.data.tags['lmc.cell']]} | " in note
    assert found.keys() == CELLS


def count_runs(project: TinyProject) -> dict[str, int]:
    store = client(project)
    runs = store.search_runs([store.get_experiment_by_name("lmc/table1/digits").experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    kinds = [run.data.tags["lmc.kind"] for run in runs]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_in_a_new_clone_all_is_trained_and_linked(tiny: TinyProject) -> None:
    printed, run_id = mlflow_run(tiny, "-P", "study=table1")
    assert "trained 8, reused 0, resumed 0" in printed
    assert not (tiny.root / "runs").exists()  # DVC's outputs are left alone
    check_project_run(tiny, run_id)
    assert count_runs(tiny) == {"cell": 4, "pair": 4, "train": 8}
    assert client(tiny).get_run(run_id).data.params["study"] == "table1"


def test_a_second_one_reuses_all_and_shows_complete_cells(tiny: TinyProject) -> None:
    printed, run_id = mlflow_run(tiny, "-P", "study=table1")
    assert "trained 0, reused 8, resumed 0" in printed
    check_project_run(tiny, run_id)
    assert count_runs(tiny) == {"cell": 4, "pair": 4, "train": 8}


def test_parameters_reach_lmc_run(tiny: TinyProject) -> None:
    options = {"row": "1-layer-bs1024", "column": "sgd-high", "profile": "digits", "pairs": "1", "device": "cpu"}
    more = {"epochs": "3", "replicas": "2", "out": "another folder"}  # the last two stand in no entry point
    printed, run_id = mlflow_run(tiny, *(word for k, v in (options | more).items() for word in ("-P", f"{k}={v}")))
    assert "trained 0, reused 2, resumed 0" in printed
    assert (tiny.root / "another folder" / "results" / "table1" / "cells.json").is_file()
    assert len(LINK.findall(client(tiny).get_run(run_id).data.tags["mlflow.note.content"])) == 1


def test_a_mistake_is_one_line_and_a_failed_run(tiny: TinyProject) -> None:
    printed = tiny.run("mlflow", "run", ".", "--env-manager", "local", "-P", "study=table7")
    assert printed.returncode == 1
    assert (
        "error: STUDY: found 'table7', allowed: table1 (params.yaml: studies); did you mean table1?"
        in printed.stdout.splitlines()
    )
    runs = client(tiny).search_runs(["0"], "params.study = 'table7'")
    assert [run.info.status for run in runs] == ["FAILED"]


def test_repro_shows_complete_cells_whether_dvc_had_work_or_not(tiny: TinyProject) -> None:
    pipeline = YAML(typ="safe", pure=True).load((tiny.root / "dvc.yaml").read_text())
    pipeline["stages"]["probe"] = {"cmd": "env > environment.txt", "outs": ["environment.txt"]}
    with open(tiny.root / "dvc.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(pipeline, file)
    printed, run_id = mlflow_run(tiny, "-e", "repro")
    assert "trained 0, reused 8, resumed 0" in printed
    check_project_run(tiny, run_id)
    seen = dict(line.partition("=")[::2] for line in (tiny.root / "environment.txt").read_text().splitlines())
    assert seen["LMC_PROJECT_RUN"] == run_id
    assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"} & seen.keys()
    printed, run_id = mlflow_run(tiny, "-e", "repro")
    assert "Running stage" not in printed
    check_project_run(tiny, run_id)
    assert count_runs(tiny) == {"cell": 4, "pair": 4, "train": 8}
