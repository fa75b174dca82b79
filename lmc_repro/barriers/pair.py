"""A pair of runs: its identity, the task of measuring it, and the judgement of each evaluation epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.results import EpochResult
from lmc_repro.barriers.status import endpoint_status
from lmc_repro.config.base import canonical_json, epoch_text
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.plan import COMMON, Epochs, ends_at, epochs_of
from lmc_repro.config.run import DataConfig, ModelConfig, RunConfig
from lmc_repro.training.checkpoint import Checkpoint, verified
from lmc_repro.training.run_folder import RunFolder

EVALUATION_NUMERICS = 3
"""Raised by any change to the code that moves a count or a loss of an evaluation."""

WEIGHT_MATCHING = 2
"""Raised by any change that moves a permutation of `align: weights`: pairs aligned so are measured again, no others."""


@dataclass(frozen=True)
class PairTask:
    """Two ends' weights at each evaluation epoch, and their data set. `diverged` are epochs, or None.

    Weights are files, not tensors: torch would open one channel per tensor on the way to a worker, hundreds in all.
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
    path: PathConfig = PLAIN_PATH
    epochs: Epochs = COMMON


@dataclass(frozen=True)
class PairEnd:
    """A finished run as one end of a path: its identity, its status.json, and its weights after an epoch."""

    fingerprint: str
    config: RunConfig
    status: Mapping[str, Any]
    weights: Callable[[float], Checkpoint]

    @classmethod
    def of(cls, folder: RunFolder) -> PairEnd:
        """Return the end of a path from a complete run folder."""
        status = folder.status()

        def weights(epoch: float) -> Checkpoint:
            return verified(folder.checkpoint(epoch), status["checkpoints"][epoch_text(epoch)], folder.fix)

        return cls(folder.fingerprint, folder.config(), status, weights)


def pair_task(
    name: str,
    ends: tuple[PairEnd, PairEnd],
    prepared: Path,
    points: int,
    *,
    evaluations: Sequence[float] | None = None,
    device: str = "cpu",
    path: PathConfig = PLAIN_PATH,
    epochs: Epochs = COMMON,
) -> PairTask:
    """Return the task of measuring the path between two runs, with their weights read.

    Args:
        name: The pair's name within its cell.
        ends: The runs at alpha 0 and 1; model and data are those of the first.
        prepared: The folder of prepared data sets.
        points: The number of alphas, both ends included.
        evaluations: The evaluation epochs to measure; default: those of the first run, or the one that own epochs fix.
        device: cpu or cuda.
        path: The names of alignment, repair and metrics.
        epochs: The ends' own epochs.
    """
    a, b = ends
    weights = {}
    for epoch in evaluations or epochs_of(epochs, a.config.evaluate_at):
        first, second = ends_at(epochs, epoch)
        weights[epoch] = a.weights(first), b.weights(second)
    return PairTask(
        pair=name,
        trainer_seed=a.config.seeds.trainer,
        fingerprints=(a.fingerprint, b.fingerprint),
        diverged=(a.status["diverged_epoch"], b.status["diverged_epoch"]),
        weights=weights,
        model=a.config.model,
        data=a.config.data,
        prepared=prepared,
        points=points,
        device=device,
        path=path,
        epochs=epochs,
    )


def pair_key(
    fingerprints: tuple[str, str], points: int, numerics: str, path: PathConfig = PLAIN_PATH, epochs: Epochs = COMMON
) -> str:
    """Return 16 hex digits over both runs, the alphas, EVALUATION_NUMERICS and the numerics tag of the process.

    It includes the names in `path` that differ from a plain path's, WEIGHT_MATCHING where it aligns by weights, and the
    ends' own epochs.
    """
    identity = {
        "fingerprints": fingerprints,
        "points": points,
        "numerics": numerics,
        "evaluation_numerics": EVALUATION_NUMERICS,
        **({"path": given} if (given := path.given()) else {}),
        **({"weight_matching": WEIGHT_MATCHING} if path.align == "weights" else {}),
        **({"epochs": epochs} if epochs != COMMON else {}),
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


def judge_epoch(
    epoch: float,
    curves: dict[SplitName, Curve],
    diverged: tuple[float | None, float | None],
    classes: int,
    largest_class: int,
    epochs: Epochs = COMMON,
) -> EpochResult:
    """Return the endpoints' status, each at its own epoch or `epoch`, and, only if both are trained, the barriers.

    `largest_class` is the number of training images with the most common label, see `endpoint_status`.
    """
    train, at = curves["train"], ends_at(epochs, epoch)
    first = endpoint_status(at[0], diverged[0], train.wrong[0], train.n, largest_class)
    second = endpoint_status(at[1], diverged[1], train.wrong[-1], train.n, largest_class)
    trained = first == second == "trained"
    found = {split: barriers(curves, split, classes) for split in SPLITS} if trained else None
    return EpochResult(epoch, (first, second), curves, found)
