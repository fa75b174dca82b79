"""Error and loss on the plane through three networks' weights (Garipov et al. 2018, arXiv 1802.10026)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.path import as_curve, path_curves
from lmc_repro.barriers.plane import NoPlane, PlaneTask
from lmc_repro.barriers.results import Place, Plane
from lmc_repro.config.path import PlaneConfig
from lmc_repro.data.dataset import Dataset, with_label_noise
from lmc_repro.models.base import evaluated
from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import evaluate
from lmc_repro.training.stack import Layout

ROUNDING = 1e-6
"""As a share of the weights' length, the distance below which float32 cannot tell a point from a line."""


@dataclass(frozen=True)
class Frame:
    """An orthonormal basis u, v of the plane through three points w1, w2, w3, float64 [size] each, and their places.

    u leads from w1 to w2; v is what is left of w3 - w1 without its part along u (Gram-Schmidt).
    """

    origin: Tensor
    u: Tensor
    v: Tensor
    corners: tuple[Place, Place, Place]

    @classmethod
    def through(cls, weights: Tensor) -> Frame:
        """Return the frame of weights [3, size]; NoPlane if they are not finite or lie on one line."""
        points = weights.double().cpu()
        if not torch.isfinite(points).all():
            raise NoPlane("the weights of one of the three runs are not finite: it diverged; give three others")
        # Sums, not dot products: a matrix library has other bits on another CPU.
        least = ROUNDING * points.square().sum(1).max().sqrt().item()
        u, w = points[1] - points[0], points[2] - points[0]
        along = u.square().sum().sqrt().item()
        if along > least:
            u = u / along
            x = (w * u).sum().item()
            v = w - x * u
            if (above := v.square().sum().sqrt().item()) > least:
                return cls(points[0], u, v / above, ((0.0, 0.0), (along, 0.0), (x, above)))
        raise NoPlane("the weights of the three runs lie on one line and span no plane; give three others")

    def at(self, x: float, y: float) -> Tensor:
        """Return the weights float32 [size] at a place."""
        return (self.origin + x * self.u + y * self.v).float()


def sides(corners: Sequence[Place], grid: PlaneConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the evenly spaced coordinates xs and ys: all corners, and around them a margin of the longer side."""
    ends = [(min(places), max(places)) for places in zip(*corners, strict=True)]
    around = grid.margin * max(high - low for low, high in ends)
    steps = [i / (grid.points - 1) for i in range(grid.points)]
    xs, ys = (tuple(low - around + (high - low + 2 * around) * step for step in steps) for low, high in ends)
    return xs, ys


@torch.no_grad()
def plane_on(dataset: Dataset, task: PlaneTask) -> Plane:
    """Return the plane through three runs, on a data set in memory and the process's own number of threads.

    The runs are evaluated at their own weights, untouched, so they have the counts of their trainings. The rows of the
    grid are paths along x, measured as all paths are: BatchNorm's statistics are estimated at every point.

    Raises:
        NoPlane: The weights of the three runs are not finite, or lie on one line.
    """
    dataset = with_label_noise(dataset, task.data.label_noise)
    device, model = dataset.train.images.device, build_model(task.model, dataset.info)
    layout = Layout(model)
    weights = layout.stack([file.tensors() for file in task.weights])
    frame = Frame.through(weights)
    xs, ys = sides(frame.corners, task.grid)
    views = layout.views(weights.to(device))
    network = evaluated(model, views, dataset.train)
    parts: dict[SplitName, Curve] = {
        split: as_curve(evaluate(network, views, part, dataset.info))
        for split, part in zip(SPLITS, (dataset.train, dataset.test), strict=True)
    }
    rows: dict[SplitName, list[Curve]] = {split: [] for split in SPLITS}
    for y in ys:
        ends = torch.stack([frame.at(xs[0], y), frame.at(xs[-1], y)])
        curves = path_curves(model, layout.run(ends, 0), layout.run(ends, 1), dataset, task.grid.points, device)
        for split in SPLITS:
            rows[split].append(curves[split])
    measured = {split: tuple(found) for split, found in rows.items()}
    return Plane(task.fingerprints, frame.corners, xs, ys, parts, measured)
