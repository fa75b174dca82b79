"""Hidden units on training images: their outputs as a stream, and their means and deviations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.base import Model, Weights
from lmc_repro.training.evaluate import BATCH
from lmc_repro.training.stack import Layout

IMAGES = 10_000
"""Training images on which hidden units are measured."""


def hidden_outputs(model: Model, networks: Sequence[Weights], dataset: Dataset) -> Iterator[dict[str, Tensor]]:
    """Yield `Model.hidden` of all networks, [networks, samples, units] per group, on the first `IMAGES`."""
    layout, images = Layout(model), dataset.train.images[:IMAGES]
    views = layout.views(layout.stack([dict(weights) for weights in networks]).to(images.device))
    return stacked_outputs(model, views, images, dataset.info)


@torch.no_grad()
def stacked_outputs(model: Model, weights: Weights, images: Tensor, info: DatasetInfo) -> Iterator[dict[str, Tensor]]:
    """Yield `Model.hidden` of stacked weights for every `BATCH` of these images, uint8 on the weights' device."""
    networks = next(iter(weights.values())).shape[0]
    for start in range(0, len(images), BATCH):
        inputs = normalise(images[start : start + BATCH], info)
        yield model.hidden(weights, inputs.expand(networks, *inputs.shape))


def moments(model: Model, networks: Sequence[Weights], dataset: Dataset) -> dict[str, Tensor]:
    """Return float64 [2, networks, units] per group: means and standard deviations of hidden units."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for hidden in hidden_outputs(model, networks, dataset):
        for name, values in hidden.items():
            x = values.double()
            sums[name] = sums.get(name, 0.0) + torch.stack([x.sum(1), x.square().sum(1)])
            counts[name] = counts.get(name, 0) + x.shape[1]
    found = {}
    for name, total in sums.items():
        mean, square = total.cpu() / counts[name]
        found[name] = torch.stack([mean, (square - mean**2).clamp(min=0).sqrt()])
    return found
