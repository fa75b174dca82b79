"""Everything that is measured of one pair, from stored weights alone; a task for a worker process."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.results import MarkResult, PairResult
from lmc_repro.barriers.status import endpoint_status
from lmc_repro.data.dataset import Dataset, load_dataset
from lmc_repro.data.label_noise import with_label_noise
from lmc_repro.models.registry import build_model
from lmc_repro.numerics import use_one_thread
from lmc_repro.schemas.base import canonical_json
from lmc_repro.schemas.data import DataConfig
from lmc_repro.schemas.model import ModelConfig
from lmc_repro.training.checkpoint import encode
from lmc_repro.training.evaluate import EVALUATION_NUMERICS, predict
from lmc_repro.training.stack import Layout

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class PairTask:
    """Two runs' weights at their common marks, and how to judge them. `diverged` are epochs, or None."""

    pair: str
    trainer_seed: int
    fingerprints: tuple[str, str]
    diverged: tuple[float | None, float | None]
    weights: dict[float, tuple[Weights, Weights]]
    model: ModelConfig
    data: DataConfig
    prepared: Path
    points: int
    min_train_accuracy: float | None
    device: str = "cpu"

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to a worker: torch would open a channel of its own for each of hundreds of tensors."""
        packed = {mark: (encode(a), encode(b)) for mark, (a, b) in self.weights.items()}
        return {**vars(self), "weights": packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        unpacked = {mark: (load(a), load(b)) for mark, (a, b) in state["weights"].items()}
        vars(self).update({**state, "weights": unpacked})


def pair_key(fingerprints: tuple[str, str], points: int, numerics: str) -> str:
    """Return 16 hex digits over both runs, the alphas, EVALUATION_NUMERICS and the numerics tag of the process."""
    identity = {
        "fingerprints": fingerprints,
        "points": points,
        "numerics": numerics,
        "evaluation_numerics": EVALUATION_NUMERICS,
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


def measure_pair(task: PairTask) -> PairResult:
    """Return curves and barriers at every mark, and how far apart the endpoints are at the last."""
    use_one_thread()
    return measure_on(_dataset(task.prepared, task.data.dataset, torch.device(task.device)), task)


@torch.no_grad()
def measure_on(dataset: Dataset, task: PairTask) -> PairResult:
    """Return what `measure_pair` does, of a data set in memory and with the process's own number of threads."""
    # Train is what the runs were trained on, noisy labels included; nothing is augmented here.
    dataset = with_label_noise(dataset, task.data.label_noise)
    device = dataset.train.images.device
    model = build_model(task.model, dataset.info)
    marks = []
    for epoch, (theta_0, theta_1) in sorted(task.weights.items()):
        curves = path_curves(model, theta_0, theta_1, dataset, task.points, device)
        marks.append(judge_mark(epoch, curves, task.diverged, dataset.info.classes, task.min_train_accuracy))
    ends = Layout(model).stack(task.weights[marks[-1].epoch])
    distance, cosine = _distance(ends[0], ends[1])
    views = Layout(model).views(ends.to(device))
    disagreement: dict[SplitName, float] = {}
    for split, part in zip(SPLITS, (dataset.train, dataset.test), strict=True):
        predictions, _ = predict(model, views, part, dataset.info)
        disagreement[split] = (predictions[0] != predictions[1]).sum().item() / len(part)
    return PairResult(task.pair, task.trainer_seed, task.fingerprints, tuple(marks), distance, cosine, disagreement)


def judge_mark(
    epoch: float,
    curves: dict[SplitName, Curve],
    diverged: tuple[float | None, float | None],
    classes: int,
    min_train_accuracy: float | None,
) -> MarkResult:
    """Return the endpoints' status at `epoch` and, only if both are trained, the barriers."""
    train = curves["train"].errors
    first = endpoint_status(epoch, diverged[0], train[0], classes, min_train_accuracy)
    second = endpoint_status(epoch, diverged[1], train[-1], classes, min_train_accuracy)
    trained = first == second == "trained"
    found = {split: barriers(curves, split, classes) for split in SPLITS} if trained else None
    return MarkResult(epoch, (first, second), curves, found)


def _distance(theta_0: Tensor, theta_1: Tensor) -> tuple[float | None, float | None]:
    """Return Euclidean distance and cosine, in float64; None where they are not finite."""
    a, b = theta_0.double(), theta_1.double()
    values = (torch.linalg.vector_norm(a - b).item(), torch.nn.functional.cosine_similarity(a, b, dim=0).item())
    distance, cosine = (value if math.isfinite(value) else None for value in values)
    return distance, cosine


@cache
def _dataset(prepared: Path, name: str, device: torch.device) -> Dataset:
    return load_dataset(prepared, name).to(device)  # once a process, not once a pair
