"""A training as it was found in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrackedRun:
    """A finished training in MLflow.

    `status` is its status.json. `models` gives the logged model of its last epoch, below the experiment's artifacts
    `location`; earlier checkpoints are files of the run's own artifacts at `artifact_uri`. For a reused training all
    of it is the original's.
    """

    run_id: str
    fingerprint: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    status: Mapping[str, Any]
    models: Mapping[float, str]
    artifact_uri: str
    location: str
