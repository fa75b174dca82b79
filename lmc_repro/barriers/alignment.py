"""The alignment seam: another point of weight space that computes theta_1's function, nearer to theta_0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from lmc_repro.common.errors import LmcError
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


def require_groups(axes: Axes, name: str) -> None:
    """Raise LmcError, beginning with `name`, for a network without a group of units that may change places."""
    if not axes:
        raise LmcError(f"{name}: no hidden units of this network may change places; leave {name.split()[0]} out")


class Permuted(dict[str, Tensor]):
    """Weights by name, and the permutations that made them."""

    permutations: Mapping[str, Tensor]


def permuted(weights: Weights, axes: Axes, permutations: Mapping[str, Tensor]) -> Permuted:
    """Return weights with the units of groups rearranged: the same function, another point.

    Args:
        weights: Weights of one run, by name.
        axes: The network's groups.
        permutations: For each group to rearrange, int64 [units]: which old unit stands at each new place.
    """
    result = Permuted((name, tensor.clone()) for name, tensor in weights.items())
    result.permutations = permutations
    for name, order in permutations.items():
        for place in axes[name]:
            target = place.part(result[place.weight])
            target.copy_(target.index_select(place.free_side, order))
    return result


def recorded(model: Model, theta_1: Weights, aligned: Weights) -> dict[str, str] | None:
    """Return for each group the units of theta_1 at each place, "2 0 1", None where no permutation made these weights.

    Args:
        model: The network of both.
        theta_1: Weights before the alignment, by name.
        aligned: What the alignment returned.
    """
    orders = getattr(aligned, "permutations", {})
    if not orders or not all(is_permutation(order) for order in orders.values()):
        return None
    again = permuted(theta_1, model.axes(), orders)
    if not all(torch.equal(weight, aligned[name]) for name, weight in again.items()):
        return None  # it has gone on from there
    return {name: " ".join(map(str, order.tolist())) for name, order in orders.items()}


def is_permutation(order: Tensor) -> bool:
    """Return whether int64 [n] holds each of 0 .. n - 1 once."""
    return torch.equal(order.sort().values, torch.arange(len(order)))
