"""Counts wrong predictions and the mean loss of a stack over a whole split."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.dataset import Split, normalise
from lmc_repro.models.base import Forward, Weights

# What lies between the products of eleven points stays in the caches: with 1,000 images a CNN takes twice as long. No
# bit differed between the two; a matrix library may compute a row with other kernels in another batch, though.
BATCH = 250


@dataclass(frozen=True)
class Score:
    """Wrong predictions out of n, and the mean cross-entropy in nats (None if it is not finite)."""

    wrong: int
    n: int
    loss: float | None

    @property
    def error(self) -> float:
        """Share of wrong predictions."""
        return self.wrong / self.n


def predicted(logits: Tensor) -> Tensor:
    """Return the class [...] of the largest of logits [..., classes]; -1, always wrong, where one is not finite."""
    chosen = logits.argmax(-1)
    chosen[~torch.isfinite(logits).all(-1)] = -1
    return chosen


@torch.no_grad()
def predict(model: Forward, weights: Weights, split: Split, info: DatasetInfo) -> tuple[Tensor, Tensor]:
    """Return predictions int64 [C, n] and per-sample losses float64 [C, n] of stacked weights.

    A sample with a logit that is not finite is predicted as class -1, which is always wrong: argmax of NaN would
    call it class 0. All children see the same images; there is no augmentation.
    """
    children = next(iter(weights.values())).shape[0]
    device = next(iter(weights.values())).device
    predictions, losses = [], []
    for start in range(0, len(split), BATCH):
        images = normalise(split.images[start : start + BATCH].to(device), info)
        labels = split.labels[start : start + BATCH].to(device)
        logits = model.forward(weights, images.expand(children, *images.shape))
        chosen = predicted(logits)
        flat = functional.cross_entropy(logits.reshape(-1, logits.shape[2]), labels.repeat(children), reduction="none")
        predictions.append(chosen)
        losses.append(flat.view(children, -1).double())
    return torch.cat(predictions, 1), torch.cat(losses, 1)


def evaluate(model: Forward, weights: Weights, split: Split, info: DatasetInfo) -> list[Score]:
    """Return the score of each child on the whole split."""
    predictions, losses = predict(model, weights, split, info)
    wrong = (predictions != split.labels.to(predictions.device)).sum(1).tolist()
    means = losses.mean(1).tolist()
    return [
        Score(count, len(split), mean if math.isfinite(mean) else None)
        for count, mean in zip(wrong, means, strict=True)
    ]
