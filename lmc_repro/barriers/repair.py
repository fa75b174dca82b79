"""The repair seam: other weights at the inner points of a path, such as new statistics of its hidden units."""

from __future__ import annotations

from typing import Protocol

from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Model, Weights


class Repair(Protocol):
    """Moves an inner point of a path; the ends keep their own bits."""

    def __call__(self, model: Model, theta_alpha: Weights, ends: tuple[Weights, Weights], dataset: Dataset) -> Weights:
        """Return the weights that stand for theta_alpha.

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
