"""The alignment seam: another point of weight space that computes theta_1's function, nearer to theta_0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Axes, Model, Weights


class Alignment(Protocol):
    """Moves the second end of a path without changing its function."""

    def __call__(self, model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
        """Return theta_1 with units rearranged.

        Args:
            model: The network of both ends; `model.axes()` are its interchangeable units.
            theta_0: Weights of the first end, by name.
            theta_1: Weights of the second end.
            dataset: The data set of the pair, for alignments that look at activations.
            seed: The source of all randomness.
        """
        ...


def none(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
    """Return theta_1 as it is."""
    return theta_1


def units(axes: Axes, name: str) -> int:
    """Return the number of units of a group."""
    return axes[name][0].units


def permuted(weights: Weights, axes: Axes, permutations: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the units of groups rearranged: the same function, another point.

    Args:
        weights: Weights of one run, by name.
        axes: The network's groups.
        permutations: For each group to rearrange, int64 [units]: which old unit stands at each new place.
    """
    result = {name: tensor.clone() for name, tensor in weights.items()}
    for name, order in permutations.items():
        for place in axes[name]:
            target = place.part(result[place.weight])
            target.copy_(target.index_select(place.free_side, order))
    return result


def is_permutation(order: Tensor) -> bool:
    """Return whether int64 [n] holds each of 0 .. n - 1 once."""
    return torch.equal(order.sort().values, torch.arange(len(order)))
