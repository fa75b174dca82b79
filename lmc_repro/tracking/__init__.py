"""Runs, pairs and cells in MLflow; the only package that imports mlflow. Layers: store, find, publish, views."""

from __future__ import annotations

from lmc_repro.tracking.find import TrackedRun
from lmc_repro.tracking.names import cell_identity
from lmc_repro.tracking.publish import Tracker

__all__ = ["TrackedRun", "Tracker", "cell_identity"]
