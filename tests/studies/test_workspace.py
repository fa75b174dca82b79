from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from helpers import EXAMPLE

NAMES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN")
SCRIPT = f"""
import json, os
from pathlib import Path
from lmc_repro.common.progress import listener
from lmc_repro.engine.local import LocalEngine
from lmc_repro.config.load import load_params
from lmc_repro.pipeline.workspace import begin_process

begin_process(load_params(Path({str(EXAMPLE)!r})), "digits", listener())
print(json.dumps(list(LocalEngine(1).map(os.getenv, {NAMES!r}))))
"""


@pytest.mark.slow
def test_workers_do_not_see_the_run_of_the_mlflow_project() -> None:
    # In a process of its own: the one that workers are forked from keeps the environment of its start.
    run = {"MLFLOW_RUN_ID": "f" * 32, "MLFLOW_EXPERIMENT_ID": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **run}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [None, None, "f" * 32]
