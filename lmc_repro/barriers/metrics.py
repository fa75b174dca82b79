"""Path metrics of the package: of logits along a path, of the ends' averaged logits, and of each hidden layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.barriers.activations import stacked_outputs
from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.models.base import Model, Weights
from lmc_repro.training.evaluate import PathMetric, finite, predicted
from lmc_repro.training.optimizer import square_root

BINS = 15
"""Equal-width bins of confidence (Guo et al. 2017)."""

INVERSE_TEMPERATURES = tuple(2.0 ** (k / 2) for k in range(-8, 25))
"""Factors of logits that `calibrated_loss` tries: from 1/16 to 4096."""


@dataclass(frozen=True)
class LayerMetric:
    """A number per hidden layer at each point of a path, from outputs before the nonlinearity (`Model.hidden`).

    Attributes:
        name: Begins the columns of curves.csv, `<name>_<layer>`: `llfc_layers_0`.
        sums: From a layer's outputs [P, n, units] at P points, those of the ends [2, n, units], and alphas [P], to sums
            [P, k] over the n samples; a filter has one sample per position.
        finish: From the sums float64 [P, k] over a split, and its number of samples, to the values [P].
    """

    name: str
    sums: Callable[[Tensor, Tensor, Tensor], Tensor]
    finish: Callable[[Tensor, int], Tensor]


def layer_columns(
    model: Model,
    points: Weights,
    ends: Weights,
    alphas: Sequence[float],
    images: Tensor,
    info: DatasetInfo,
    metrics: Sequence[LayerMetric],
) -> list[dict[str, float | None]]:
    """Return the columns of layer metrics, for each point.

    Args:
        model: The network; `Model.axes` names its hidden units.
        points: Stacked weights of the points.
        ends: Stacked weights of both ends.
        alphas: The positions of the points.
        images: A split's, uint8, on the device of the weights.
        info: The data set.
        metrics: What is measured.

    Raises:
        LmcError: The network names no hidden units, or a metric fails.
    """
    if not hasattr(model, "hidden"):
        raise LmcError(f"metrics {metrics[0].name}: this kind of network names no hidden units (axes, hidden)")
    layers: dict[str, list[str]] = {}
    for group, places in model.axes().items():
        layers.setdefault(places[0].weight.removesuffix(".weight").replace(".", "_"), []).append(group)
    at = torch.tensor(alphas, device=images.device)
    sums: dict[tuple[LayerMetric, str], Tensor] = {}
    counts: dict[str, int] = {}
    streams = (stacked_outputs(model, weights, images, info) for weights in (points, ends))
    for here, there in zip(*streams, strict=True):
        for layer, names in layers.items():
            units = [torch.cat([each[name] for name in names if name in each], 2) for each in (here, there)]
            counts[layer] = counts.get(layer, 0) + units[0].shape[1]
            for metric in metrics:
                found = own_code(f"metric {metric.name}", partial(metric.sums, units[0], units[1], at))
                sums[metric, layer] = sums.get((metric, layer), 0.0) + found.double()
    values = {f"{m.name}_{layer}": m.finish(total, counts[layer]).tolist() for (m, layer), total in sums.items()}
    return [{name: finite(column[i]) for name, column in values.items()} for i in range(len(alphas))]


def _true_lead(logits: Tensor, labels: Tensor) -> Tensor:
    place = labels.expand(len(logits), -1).unsqueeze(2)
    others = logits.scatter(2, place, -torch.inf).amax(2)
    return (logits.gather(2, place).squeeze(2) - others).sum(1)


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    return (predicted(logits) != labels).sum(1)


def _binned(logits: Tensor, labels: Tensor) -> Tensor:
    confidence, chosen = logits.softmax(2).max(2)
    bins = confidence.mul(BINS).ceil().sub(1).nan_to_num(0.0).clamp(0, BINS - 1).long()
    gap = confidence.double() - (chosen == labels).double()
    return torch.zeros(len(logits), BINS, dtype=torch.float64, device=logits.device).scatter_add_(1, bins, gap)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    flat, repeated = logits.flatten(0, 1), labels.repeat(len(logits))
    found = [functional.cross_entropy(flat * factor, repeated, reduction="none") for factor in INVERSE_TEMPERATURES]
    return torch.stack([each.view(len(logits), -1).double().sum(1) for each in found], 1)


def _squares(here: Tensor, ends: Tensor, alphas: Tensor) -> Tensor:
    each = [torch.stack([x.sum(1), x.square().sum(1)], 1) for x in (here.double(), ends.double())]
    return torch.cat([each[0], each[1].flatten(0, 1).expand(len(here), -1, -1)], 1).flatten(1)


def _ratio(sums: Tensor, n: int) -> Tensor:
    mean, square = (sums.view(len(sums), 3, 2, -1) / n).unbind(2)
    here, *ends = (square - mean**2).clamp(min=0).unbind(1)
    of_ends = (ends[0] + ends[1]) / 2
    return torch.where(of_ends > 0, here / of_ends, torch.nan).nanmean(1)


def _cosines(here: Tensor, ends: Tensor, alphas: Tensor) -> Tensor:
    first, second = ends.double()
    a, b = here.double(), torch.lerp(first, second, alphas.double().view(-1, 1, 1))
    lengths = (a * a).sum(2) * (b * b).sum(2)
    square_root(lengths, out=lengths)
    return ((a * b).sum(2) / lengths).sum(1, keepdim=True)


def _mean(sums: Tensor, n: int) -> Tensor:
    return sums[:, 0] / n


margin = PathMetric("margin", _true_lead)
"""The logit of the true class minus the largest of the others, mean over samples."""

ece = PathMetric("ece", _binned, lambda gaps, n: gaps.abs().sum(1) / n)
"""The expected calibration error (Guo et al. 2017, arXiv 1706.04599): sum over bins of |sum of confidence - right| / n.

The 15 bins are (m / 15, (m + 1) / 15] of the largest softmax probability.
"""

ensemble_error = PathMetric("ensemble_error", _wrong, ensemble=True)
"""The share of wrong predictions of (1 - alpha) z_0 + alpha z_1, the ends' logits averaged."""

calibrated_loss = PathMetric("calibrated_loss", _losses, lambda losses, n: losses.amin(1) / n)
"""The cross-entropy of the logits z / T at the best temperature T: min over T of mean CE(z / T), in nats.

Ito et al. 2025 (arXiv 2510.08023) join wide networks after a softmax temperature is calibrated: a merged network's
logits are those of an ensemble, times a small factor. `ours`: T is the best for each split, of those whose inverses are
`INVERSE_TEMPERATURES`. Errors do not depend on T.
"""

variance_ratio = LayerMetric("variance_ratio", _squares, _ratio)
"""A hidden unit's variance over the mean of its variances at the two ends, mean over a layer's units.

At the middle, below 1 is variance collapse (Jordan et al. 2023, arXiv 2211.08403). Units that are constant at both ends
are left out.
"""

llfc = LayerMetric("llfc", _cosines, _mean)
"""The cosine of a layer's outputs and (1 - alpha) h_0 + alpha h_1, those of the ends, mean over samples.

1 is layerwise linear feature connectivity (Zhou et al. 2023, arXiv 2307.08286).
"""
