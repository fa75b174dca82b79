"""A pair as it is sent to be measured, named and judged; without torch, which the processes that measure have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.results import MarkResult
from lmc_repro.barriers.status import endpoint_status
from lmc_repro.schemas.base import canonical_json
from lmc_repro.schemas.run import DataConfig, ModelConfig
from lmc_repro.training.checkpoint import Checkpoint

EVALUATION_NUMERICS = 3
"""Raised by any change to the code that moves a count or a loss of an evaluation."""


@dataclass(frozen=True)
class PairTask:
    """Two runs' weights at their common marks, and what they are measured on. `diverged` are epochs, or None.

    Weights are files, not tensors: torch would open a channel of its own for each of hundreds on the way to a worker.
    """

    pair: str
    trainer_seed: int
    fingerprints: tuple[str, str]
    diverged: tuple[float | None, float | None]
    weights: dict[float, tuple[Checkpoint, Checkpoint]]
    model: ModelConfig
    data: DataConfig
    prepared: Path
    points: int
    device: str = "cpu"


def pair_key(fingerprints: tuple[str, str], points: int, numerics: str) -> str:
    """Return 16 hex digits over both runs, the alphas, EVALUATION_NUMERICS and the numerics tag of the process."""
    identity = {
        "fingerprints": fingerprints,
        "points": points,
        "numerics": numerics,
        "evaluation_numerics": EVALUATION_NUMERICS,
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


def judge_mark(
    epoch: float,
    curves: dict[SplitName, Curve],
    diverged: tuple[float | None, float | None],
    classes: int,
    largest_class: int,
) -> MarkResult:
    """Return the endpoints' status at `epoch` and, only if both are trained, the barriers.

    `largest_class` is the number of training images with the most common label, see `endpoint_status`.
    """
    train = curves["train"]
    first = endpoint_status(epoch, diverged[0], train.wrong[0], train.n, largest_class)
    second = endpoint_status(epoch, diverged[1], train.wrong[-1], train.n, largest_class)
    trained = first == second == "trained"
    found = {split: barriers(curves, split, classes) for split in SPLITS} if trained else None
    return MarkResult(epoch, (first, second), curves, found)
