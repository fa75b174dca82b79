"""The alignment seam: another point of weight space that computes theta_1's function, nearer to theta_0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Axes, Model, Place, Weights


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
    place = axes[name][0]
    return place.shape[place.side]


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
            target = part_of(result[place.weight], place)
            target.copy_(target.index_select(free_side(place), order))
    return result


def part_of(weight: Tensor, place: Place) -> Tensor:
    """Return a view of the part of a weight that a place means: `place.shape` without its fixed sides."""
    index: list[int | slice] = [slice(None)] * len(place.shape)
    for side, at in place.at:
        index[side] = at
    return weight.view(place.shape)[tuple(index)]


def free_side(place: Place) -> int:
    """Return the side of `part_of` that counts the units."""
    return place.side - sum(fixed < place.side for fixed, _ in place.at)


def is_permutation(order: Tensor) -> bool:
    """Return whether int64 [n] holds each of 0 .. n - 1 once."""
    return torch.equal(order.sort().values, torch.arange(len(order)))
