"""`mlflow run .` on a project that `dvc repro` has finished. The tests of this file build on one another, in order."""

from __future__ import annotations

import pytest
from project_run import LINK, check_project_run, client, count_runs, mlflow_run
from ruamel.yaml import YAML
from tiny_project import TinyProject

pytestmark = pytest.mark.slow


def test_parameters_reach_lmc_run(tiny: TinyProject) -> None:
    options = {"row": "1-layer-bs1024", "column": "sgd-high", "profile": "digits", "pairs": "1", "device": "cpu"}
    more = {"epochs": "3", "replicas": "2", "out": "another folder"}  # the last two stand in no entry point
    printed, run_id = mlflow_run(tiny, *(word for k, v in (options | more).items() for word in ("-P", f"{k}={v}")))
    assert "trained 0, reused 2, resumed 0" in printed
    assert (tiny.root / "another folder" / "results" / "table1" / "cells.json").is_file()
    assert len(LINK.findall(client(tiny.root).get_run(run_id).data.tags["mlflow.note.content"])) == 1


def test_a_mistake_is_one_line_and_a_failed_run(tiny: TinyProject) -> None:
    printed = tiny.run("mlflow", "run", ".", "--env-manager", "local", "-P", "study=table7")
    assert printed.returncode == 1
    assert (
        "error: STUDY: found 'table7', allowed: table1 (params.yaml: studies); did you mean table1?"
        in printed.stdout.splitlines()
    )
    runs = client(tiny.root).search_runs(["0"], "params.study = 'table7'")
    assert [run.info.status for run in runs] == ["FAILED"]


def test_repro_shows_complete_cells_whether_dvc_had_work_or_not(tiny: TinyProject) -> None:
    pipeline = YAML(typ="safe", pure=True).load((tiny.root / "dvc.yaml").read_text())
    pipeline["stages"]["probe"] = {"cmd": "env > environment.txt", "outs": ["environment.txt"]}
    with open(tiny.root / "dvc.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(pipeline, file)
    printed, run_id = mlflow_run(tiny, "-e", "repro")
    assert "Running stage 'probe'" in printed
    check_project_run(tiny.root, run_id)
    seen = dict(line.partition("=")[::2] for line in (tiny.root / "environment.txt").read_text().splitlines())
    assert seen["LMC_PROJECT_RUN"] == run_id
    assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"} & seen.keys()
    printed, run_id = mlflow_run(tiny, "-e", "repro")
    assert "Running stage" not in printed
    check_project_run(tiny.root, run_id)
    assert count_runs(tiny.root) == {"cell": 4, "pair": 12, "train": 24}
