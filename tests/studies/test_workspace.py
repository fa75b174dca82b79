from __future__ import annotations

import os

import pytest
from helpers import EXAMPLE

from lmc_repro.execution.pool import map_tasks
from lmc_repro.schemas.load import load_params
from lmc_repro.studies.workspace import begin_process


class Silent:
    """A listener that nobody hears."""

    def line(self, text: str) -> None: ...

    def begin(self, title: str, total: float) -> None: ...

    def advance(self, units: float, note: str = "") -> None: ...

    def end(self) -> None: ...


def test_workers_do_not_see_the_run_of_the_mlflow_project(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    begin_process(load_params(EXAMPLE), "digits", Silent())  # portable, as all tests
    names = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN")
    assert list(map_tasks(os.getenv, names, jobs=1)) == [None, None, "f" * 32]
