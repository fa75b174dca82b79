"""Runs, pairs and cells in MLflow, where people and `compare` look; the only package that imports mlflow."""

from __future__ import annotations

from lmc_repro.tracking.identity import cell_identity
from lmc_repro.tracking.tracked import TrackedRun
from lmc_repro.tracking.tracker import Tracker

__all__ = ["TrackedRun", "Tracker", "cell_identity"]
