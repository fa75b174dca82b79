"""The repair seam: other weights at the inner points of a path, such as new statistics of its hidden units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from lmc_repro.barriers.activations import moments
from lmc_repro.barriers.alignment import require_groups
from lmc_repro.common.errors import LmcError
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Model, Place, Weights


class Repair(Protocol):
    """Moves the inner points of a path; the ends keep their own bits."""

    def __call__(self, model: Model, ends: tuple[Weights, Weights], dataset: Dataset) -> Callable[[Weights], Weights]:
        """Return the function from an inner point's weights, by name, to those that replace them.

        It is asked for once per path, so that what depends on the ends alone is computed once.

        Args:
            model: The network of the path.
            ends: Weights of both ends, the second one aligned.
            dataset: The data set of the pair, for repairs that look at activations.
        """
        ...


def none(model: Model, ends: tuple[Weights, Weights], dataset: Dataset) -> Callable[[Weights], Weights]:
    """Leave inner points as they are."""
    return lambda theta_alpha: theta_alpha


def repair(model: Model, ends: tuple[Weights, Weights], dataset: Dataset) -> Callable[[Weights], Weights]:
    """Give each hidden unit of an inner point the mean and deviation between those of the ends.

    REPAIR (Jordan et al. 2023, arXiv 2211.08403): a unit's output before the nonlinearity, z, becomes
    s_t (z - m) / s + m_t, where m and s are its mean and deviation on the images of `hidden_outputs`, and m_t and
    s_t lie as far between those of the ends as the point does. Scale and shift are folded into weights and bias. Layer
    follows layer, each measured behind those that are repaired already; a constant unit is shifted alone. Where
    BatchNorm puts out every unit, its statistics, estimated at each point, have done so, and points stay as they are.

    Raises:
        LmcError: There are no hidden units; or one has no bias, or is normalised: there is nothing to fold into.
    """
    if getattr(model, "renormalised", False):
        return none(model, ends, dataset)
    producers, of_ends = _producers(model), moments(model, ends, dataset)
    if missing := producers.keys() - of_ends.keys():
        raise LmcError(f"repair: no layer puts out the units of {min(missing)}; use repair: none")
    first, second = (_flat(end, model) for end in ends)
    line = second - first
    layers: dict[str, list[str]] = {}
    for name, (weight, _) in producers.items():
        layers.setdefault(weight.weight, []).append(name)

    @torch.no_grad()
    def repaired(theta_alpha: Weights) -> Weights:
        point = {name: weight.clone() for name, weight in theta_alpha.items()}
        if not line.any():
            return point
        alpha = float((_flat(theta_alpha, model) - first) @ line / (line @ line))
        for names in layers.values():
            found = moments(model, (point,), dataset)
            for name in names:
                mean, deviation = found[name][:, 0]
                new_mean, new_deviation = torch.lerp(of_ends[name][:, 0], of_ends[name][:, 1], alpha)
                weight, bias = producers[name]
                scale = torch.where(deviation > 1e-6, new_deviation / deviation, 1.0)
                rows = weight.part(point[weight.weight])
                rows *= scale.float().view([-1 if side == weight.free_side else 1 for side in range(rows.ndim)])
                shift = bias.part(point[bias.weight])
                shift.copy_((shift.double() - mean) * scale + new_mean)
        return point

    return repaired


def _flat(weights: Weights, model: Model) -> Tensor:
    """Return all weights as one vector float64."""
    return torch.cat([weights[name].double().flatten() for name in model.shapes])


def _producers(model: Model) -> dict[str, tuple[Place, Place]]:
    """Return for each group the places of the weights and the bias that make its units."""
    require_groups(model.axes(), "repair")
    found = {}
    for name, places in model.axes().items():
        biases = [place for place in places if place.weight.endswith("bias")]
        weights = [p for p in places if biases and p.weight == f"{biases[0].weight.removesuffix('bias')}weight"]
        if len(weights) != 1 or len(biases) != 1:
            raise LmcError(
                f"repair: {name}: has no weights and bias alone to fold scale and shift into (normalised, or without "
                "bias); use repair: none"
            )
        found[name] = weights[0], biases[0]
    return found
