"""A small study."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_results import Small
from small_study import make_plan, open_tracker

from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.store import import_mlflow

import_mlflow("sqlite:///")  # here, since tests import from it what would warn when imported first


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, empty_store: Path) -> Project:
    """A project whose store has its tables already."""
    root = tmp_path / "a project"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return Project(root)


@pytest.fixture
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def cell(plan: StudyPlan) -> Cell:
    """The cell `deep--fast`, for which the paper prints a number."""
    return next(cell for cell in plan.cells if cell.key == "deep--fast")


@pytest.fixture
def tracker(project: Project, plan: StudyPlan) -> Tracker:
    return open_tracker(project, plan)


@pytest.fixture
def small(project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path) -> Small:
    return Small(project, plan, cell, tmp_path / "runs")
