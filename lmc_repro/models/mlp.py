"""N-layer fully connected networks with a leaky-ReLU slope: linear networks, ReLU MLPs and all between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from lmc_repro.models.base import FirstThenRest, FromShapes, Weights
from lmc_repro.schemas.run import MlpConfig

if TYPE_CHECKING:  # shapes and costs are asked for without torch
    from torch import Generator, Tensor


class Mlp(FirstThenRest, FromShapes):
    """`depth` linear layers, named as in a torch.nn.ModuleList: layers.0.weight [out, in], layers.0.bias [out], ...

    `start` gives the initial weights of one child in place of `config.init`: those of another network, embedded.
    """

    def __init__(
        self,
        config: MlpConfig,
        features: int,
        classes: int,
        start: Callable[[Generator], dict[str, Tensor]] | None = None,
    ) -> None:
        self.config: MlpConfig = config
        self.start = start
        hidden = [config.width or 0] * (config.depth - 1)
        self.shapes = {}
        for i, (fan_in, fan_out) in enumerate(pairwise([features, *hidden, classes])):
            self.shapes[f"layers.{i}.weight"] = (fan_out, fan_in)
            if config.bias:
                self.shapes[f"layers.{i}.bias"] = (fan_out,)

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one child: another network's, or drawn layer after layer."""
        if self.start is not None:
            return self.start(generator)
        return super().init(generator)

    def first_layer(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return the outputs [C, b, width] of the first layer, before the activation."""
        from lmc_repro.models.products import affine

        return affine(inputs.flatten(2), *_layer(weights, 0))

    def rest(self, weights: Weights, first: Tensor) -> Tensor:
        """Return logits [C, b, classes] from the first layer's outputs."""
        from torch.nn import functional

        from lmc_repro.models.products import affine

        x = first
        for i in range(1, self.config.depth):
            if self.config.slope != 1.0:
                x = functional.leaky_relu(x, self.config.slope, inplace=True)  # the product does not keep it
            x = affine(x, *_layer(weights, i))
        return x


def _layer(weights: Weights, i: int) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of layer `i`."""
    return weights[f"layers.{i}.weight"], weights.get(f"layers.{i}.bias")
