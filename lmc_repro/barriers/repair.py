"""The repair seam: other weights at the inner points of a path, such as new statistics of its hidden units."""

from __future__ import annotations

from math import prod
from typing import Protocol

import torch
from torch import Tensor

from lmc_repro.barriers.alignment import free_side, part_of
from lmc_repro.common.errors import LmcError
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.base import Model, Place, Weights
from lmc_repro.training.evaluate import BATCH
from lmc_repro.training.stack import Layout

IMAGES = 10_000
"""Training images on which hidden units are measured."""


class Repair(Protocol):
    """Moves an inner point of a path; the ends keep their own bits."""

    def __call__(self, model: Model, theta_alpha: Weights, ends: tuple[Weights, Weights], dataset: Dataset) -> Weights:
        """Return the weights that replace theta_alpha.

        Args:
            model: The network of the path.
            theta_alpha: Weights at an inner point, by name.
            ends: Weights of both ends, the second one aligned.
            dataset: The data set of the pair, for repairs that look at activations.
        """
        ...


def none(model: Model, theta_alpha: Weights, ends: tuple[Weights, Weights], dataset: Dataset) -> Weights:
    """Return theta_alpha as it is."""
    return theta_alpha


@torch.no_grad()
def repair(model: Model, theta_alpha: Weights, ends: tuple[Weights, Weights], dataset: Dataset) -> Weights:
    """Return theta_alpha with each hidden unit's mean and deviation between those of the ends.

    REPAIR (Jordan et al. 2023, arXiv 2211.08403): a unit's output before the nonlinearity, z, becomes
    s_t (z - m) / s + m_t, where m and s are its mean and deviation on the first `IMAGES` training images, and m_t and
    s_t lie as far between those of the ends as the point does. Scale and shift are folded into weights and bias. Layer
    follows layer, each measured behind those that are repaired already; a constant unit is shifted alone.

    Raises:
        LmcError: If a hidden unit has no bias, or is normalised: there is nothing to fold into.
    """
    producers = _producers(model)
    point = {name: weight.clone() for name, weight in theta_alpha.items()}
    first, second, here = (torch.cat([w[name].double().flatten() for name in point]) for w in (*ends, theta_alpha))
    line = second - first
    if not line.any():
        return point
    alpha = float((here - first) @ line / (line @ line))
    wanted = {
        name: torch.lerp(values[:, 0], values[:, 1], alpha) for name, values in _moments(model, ends, dataset).items()
    }
    layers: dict[str, list[str]] = {}
    for name, (weight, _) in producers.items():
        layers.setdefault(weight.weight, []).append(name)
    for names in layers.values():
        found = _moments(model, (point,), dataset)
        for name in names:
            (mean, deviation), (new_mean, new_deviation), (weight, bias) = (
                found[name][:, 0],
                wanted[name],
                producers[name],
            )
            scale = torch.where(deviation > 1e-6, new_deviation / deviation, 1.0)
            rows = part_of(point[weight.weight], weight)
            rows *= scale.float().view([-1 if side == free_side(weight) else 1 for side in range(rows.ndim)])
            shift = part_of(point[bias.weight], bias)
            shift.copy_((shift.double() - mean) * scale + new_mean)
    return point


def _moments(model: Model, networks: tuple[Weights, ...], dataset: Dataset) -> dict[str, Tensor]:
    """Return float64 [2, networks, units] per group: means and standard deviations of hidden units."""
    layout, train = Layout(model), dataset.train
    views = layout.views(layout.stack([dict(weights) for weights in networks]).to(train.images.device))
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for start in range(0, min(len(train), IMAGES), BATCH):
        images = normalise(train.images[start : min(start + BATCH, IMAGES)], dataset.info)
        for name, values in model.hidden(views, images.expand(len(networks), *images.shape)).items():
            x = values.double()
            sums[name] = sums.get(name, 0.0) + torch.stack([x.sum(1), x.square().sum(1)])
            counts[name] = counts.get(name, 0) + x.shape[1]
    moments = {}
    for name, total in sums.items():
        mean, square = total.cpu() / counts[name]
        moments[name] = torch.stack([mean, (square - mean**2).clamp(min=0).sqrt()])
    return moments


def _producers(model: Model) -> dict[str, tuple[Place, Place]]:
    """Return for each group the places of the weights and the bias that make its units."""
    found = {}
    for name, places in model.axes().items():
        biases = [place for place in places if place.weight.endswith("bias")]
        others = [p for p in places if p not in biases and not _reads(p, model.shapes[p.weight])]
        if len(others) != 1 or len(biases) != 1:
            raise LmcError(
                f"repair: {name}: has no weights and bias alone to fold scale and shift into (normalised, or without "
                "bias); use repair: none"
            )
        found[name] = others[0], biases[0]
    return found


def _reads(place: Place, shape: tuple[int, ...]) -> bool:
    """Return whether a place is the inputs of a linear map: the last dimension of its weight."""
    side = len(place.shape) - 1
    while prod(place.shape[side:]) < shape[-1]:
        side -= 1
    return place.side >= side
