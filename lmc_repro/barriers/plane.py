"""The plane through three runs: its identity, and the task of measuring it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.pair import EVALUATION_NUMERICS, PairEnd
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes
from lmc_repro.config.base import canonical_json
from lmc_repro.config.path import PlaneConfig
from lmc_repro.config.run import DataConfig, ModelConfig
from lmc_repro.training.checkpoint import Checkpoint


class NoPlane(LmcError):
    """Three runs whose weights are not finite, or lie on one line."""


@dataclass(frozen=True)
class PlaneTask:
    """Three runs' weights after their last epoch, their data set, and the grid."""

    fingerprints: tuple[str, str, str]
    weights: tuple[Checkpoint, Checkpoint, Checkpoint]
    model: ModelConfig
    data: DataConfig
    prepared: Path
    grid: PlaneConfig
    device: str = "cpu"


def plane_task(runs: Sequence[PairEnd], prepared: Path, grid: PlaneConfig, device: str = "cpu") -> PlaneTask:
    """Return the task of measuring the plane through three runs, with their weights read.

    Args:
        runs: The runs at the origin, on the x axis and above it; model and data are those of the first.
        prepared: The folder of prepared data sets.
        grid: Its points per side and its margin.
        device: cpu or cuda.
    """
    a, b, c = runs
    weights = a.weights(a.config.epochs), b.weights(b.config.epochs), c.weights(c.config.epochs)
    fingerprints = a.fingerprint, b.fingerprint, c.fingerprint
    return PlaneTask(fingerprints, weights, a.config.model, a.config.data, prepared, grid, device)


def plane_key(fingerprints: Sequence[str], grid: PlaneConfig, numerics: str) -> str:
    """Return 16 hex digits over the runs, the grid, EVALUATION_NUMERICS and the numerics tag of the process."""
    identity = {
        "plane": grid.model_dump(),
        "fingerprints": list(fingerprints),
        "numerics": numerics,
        "evaluation_numerics": EVALUATION_NUMERICS,
    }
    return sha256_bytes(canonical_json(identity).encode())[:16]
