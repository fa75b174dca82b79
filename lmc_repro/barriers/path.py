"""Error and loss along the straight line between two networks' weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.methods import PathMethods
from lmc_repro.barriers.metrics import LayerMetric, layer_columns
from lmc_repro.data.dataset import Dataset, Split
from lmc_repro.models.base import AffineFirst, Forward, Model, Weights, count_parameters, evaluated
from lmc_repro.training.evaluate import PathMetric, Score, evaluate, images_at_once
from lmc_repro.training.stack import Layout

PLAIN = PathMethods()

# Limits on points evaluated at once and on their memory: no bit depends on either.
SIDE_BY_SIDE = 11
SIDE_BY_SIDE_BYTES = 2**30

# Behind the first layer, only as many points at once as a CPU's caches hold the outputs of: no bit depends on it.
CACHED_BYTES = 2**23


def path_weights(theta_0: Tensor, theta_1: Tensor, points: int, some: range | None = None) -> Tensor:
    """Return [points, size]: (1 - alpha) theta_0 + alpha theta_1, the ends being the endpoints' own bits.

    theta_0 and theta_1 are [size]; `some` are the wanted points, by number. torch.lerp leaves equal weights unchanged.
    """
    ends = {0: theta_0, points - 1: theta_1}
    wanted = some if some is not None else range(points)
    return torch.stack([ends[i] if i in ends else torch.lerp(theta_0, theta_1, i / (points - 1)) for i in wanted])


@dataclass
class _Path:
    """The networks on a line as one, their first layers from two products: it is affine in its weights.

    The ends' outputs are their own, untouched, so their logits have the bits that training saw. `ends` are stacked
    weights of the two networks, `some` the points of the path whose weights `forward` receives. The next batch reuses
    the memory of the first layers' outputs: a CNN's is so large that mapping and clearing it takes as long as all else.
    """

    model: AffineFirst
    ends: Weights
    points: int
    some: range
    kept: Tensor | None = None

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [len(some), b, classes]; all points see the same inputs."""
        start, end = self.model.first_layer(self.ends, inputs[:1].expand(2, *inputs.shape[1:]))
        at_once = len(self.some)
        if not start.is_cuda:
            at_once = min(at_once, max(1, CACHED_BYTES // (start.numel() * start.element_size())))
        logits = []
        for first in range(0, len(self.some), at_once):
            rows = slice(first, first + at_once)
            these = {name: stacked[rows] for name, stacked in weights.items()}
            logits.append(self.model.rest(these, self._between(start, end, self.some[rows], at_once)))
        return torch.cat(logits)

    def _between(self, start: Tensor, end: Tensor, some: range, at_once: int) -> Tensor:
        """Return the first layer's outputs [len(some), ...] at these points."""
        shape = (at_once, *start.shape)
        if self.kept is None or self.kept.shape != shape:
            self.kept = start.new_empty(shape)
        outputs = self.kept[: len(some)]
        for row, i in zip(outputs, some, strict=True):
            if i in (0, self.points - 1):
                row.copy_(end if i else start)
            else:
                torch.lerp(start, end, i / (self.points - 1), out=row)
        return outputs


@dataclass
class _Ensemble:
    """Both ends as one network per point, whose logits are averaged as the path averages weights."""

    ends: Forward
    points: int

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [points, b, classes] from the ends' stacked weights."""
        first, second = self.ends.forward(weights, inputs)
        return path_weights(first, second, self.points)


def path_curves(
    model: Model,
    theta_0: dict[str, Tensor],
    theta_1: dict[str, Tensor],
    dataset: Dataset,
    points: int,
    device: torch.device | None = None,
    methods: PathMethods = PLAIN,
) -> dict[SplitName, Curve]:
    """Return the curve of each split between two networks (paper, Section 2; 11 points there).

    Points are evaluated side by side on whole un-augmented splits; where the two networks are one, as at an
    initialisation that they share, a single point is, unless inner points are repaired.

    Args:
        model: The network of both ends.
        theta_0: Weights at alpha 0, by name.
        theta_1: Weights at alpha 1, aligned already.
        dataset: The data set.
        points: The number of alphas, both ends included.
        device: Where it is computed, default the CPU.
        methods: The repair of inner points and the metrics.
    """
    layout, info = Layout(model), dataset.info
    metrics = [metric for metric in methods.metrics if isinstance(metric, PathMetric) and not metric.ensemble]
    of_ensemble = [metric for metric in methods.metrics if isinstance(metric, PathMetric) and metric.ensemble]
    of_layers = [metric for metric in methods.metrics if isinstance(metric, LayerMetric)]
    ends = layout.stack([theta_0, theta_1]).to(device)
    end_views = layout.views(ends)

    def measured(network: Forward, views: Weights, alphas: Sequence[float], part: Split, more: bool) -> list[Score]:
        found = evaluate(network, views, part, info, [*metrics, *(of_ensemble if more else ())])
        if of_layers:
            images = part.images.to(ends.device)
            found = _joined(found, layer_columns(model, views, end_views, alphas, images, info, of_layers))
        return found

    splits: list[tuple[SplitName, Split]] = list(zip(SPLITS, (dataset.train, dataset.test), strict=True))
    if torch.equal(ends[0], ends[1]) and not methods.repairs:
        views = layout.views(ends[:1])
        network = evaluated(model, views, dataset.train)
        return {split: as_curve(measured(network, views, (0.0,), part, True) * points) for split, part in splits}
    scores: dict[SplitName, list[Score]] = {split: [] for split in SPLITS}
    one = 4 * (count_parameters(model) + images_at_once(ends.device) * model.activations())
    together = max(1, min(SIDE_BY_SIDE, SIDE_BY_SIDE_BYTES // one))
    repaired = None
    if methods.repairs:
        repaired = methods.repaired(model, (layout.run(ends, 0), layout.run(ends, 1)), dataset)
    for start in range(0, points, together):
        some = range(start, min(start + together, points))
        weights = path_weights(ends[0], ends[1], points, some)
        views = layout.views(weights)
        if repaired is not None:
            for row, i in enumerate(some):
                if i not in (0, points - 1):
                    for name, made in repaired(layout.run(weights, row)).items():
                        views[name][row].copy_(made)
        path = evaluated(model, views, dataset.train)
        if isinstance(model, AffineFirst) and not methods.repairs:
            path = _Path(model, end_views, points, some)
        for split, part in splits:
            scores[split] += measured(path, views, [i / (points - 1) for i in some], part, False)
    if of_ensemble:
        ensemble = _Ensemble(evaluated(model, end_views, dataset.train), points)
        for split, part in splits:
            found = evaluate(ensemble, end_views, part, info, of_ensemble)
            scores[split] = _joined(scores[split], [score.columns for score in found])
    return {split: as_curve(scores[split]) for split in SPLITS}


def _joined(scores: Sequence[Score], columns: Sequence[Mapping[str, float | None]]) -> list[Score]:
    return [replace(score, columns={**score.columns, **more}) for score, more in zip(scores, columns, strict=True)]


def as_curve(scores: Sequence[Score]) -> Curve:
    """Return the curve of scores along a path."""
    columns = {name: tuple(score.columns[name] for score in scores) for name in scores[0].columns}
    return Curve(tuple(s.wrong for s in scores), scores[0].n, tuple(s.loss for s in scores), columns)
