"""Error and loss along the straight line between two networks' weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Model
from lmc_repro.training.evaluate import Score, evaluate
from lmc_repro.training.stack import Layout

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")


@dataclass(frozen=True)
class Curve:
    """Wrong predictions and losses of one split at alpha = i / (points - 1), i = 0 .. points - 1.

    `wrong` are counts out of `n`; `loss` is mean cross-entropy in nats, None where it is not finite.
    """

    wrong: tuple[int, ...]
    n: int
    loss: tuple[float | None, ...]

    @property
    def alphas(self) -> tuple[float, ...]:
        """The positions on the path; 0 is theta_0."""
        last = len(self.wrong) - 1
        return tuple(i / last for i in range(last + 1))

    @property
    def errors(self) -> tuple[float, ...]:
        """Shares of wrong predictions."""
        return tuple(wrong / self.n for wrong in self.wrong)


SIDE_BY_SIDE = 11  # points of a path evaluated at once: more would take memory, and no bit depends on it


def path_weights(theta_0: Tensor, theta_1: Tensor, points: int, some: range | None = None) -> Tensor:
    """Return [points, size]: (1 - alpha) theta_0 + alpha theta_1, the ends being the endpoints' own bits.

    theta_0 and theta_1 are [size]; `some` are the points that are wanted, by number. torch.lerp leaves equal weights
    as they are.
    """
    ends = {0: theta_0, points - 1: theta_1}
    wanted = some if some is not None else range(points)
    return torch.stack([ends[i] if i in ends else torch.lerp(theta_0, theta_1, i / (points - 1)) for i in wanted])


def path_curves(
    model: Model, theta_0: dict[str, Tensor], theta_1: dict[str, Tensor], dataset: Dataset, points: int
) -> dict[SplitName, Curve]:
    """Return the curve of each split between two networks (paper, Section 2; 11 points there).

    Weights by name, one child each. Points are evaluated side by side on whole un-augmented splits.
    """
    layout = Layout(model)
    ends = layout.stack([theta_0, theta_1])
    scores: dict[SplitName, list[Score]] = {split: [] for split in SPLITS}
    for start in range(0, points, SIDE_BY_SIDE):
        some = range(start, min(start + SIDE_BY_SIDE, points))
        views = layout.views(path_weights(ends[0], ends[1], points, some))
        for split, part in zip(SPLITS, (dataset.train, dataset.test), strict=True):
            scores[split] += evaluate(model, views, part, dataset.info)
    return {split: as_curve(scores[split]) for split in SPLITS}


def as_curve(scores: Sequence[Score]) -> Curve:
    """Return the curve of scores along a path."""
    losses = tuple(s.loss if s.loss is None or math.isfinite(s.loss) else None for s in scores)
    return Curve(tuple(s.wrong for s in scores), scores[0].n, losses)
