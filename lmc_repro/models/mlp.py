"""N-layer fully connected networks with a leaky-ReLU slope: linear networks, ReLU MLPs and all between."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lmc_repro.models.base import Weights
from lmc_repro.models.init import init_linear
from lmc_repro.schemas.model import MlpConfig


class Mlp:
    """`depth` linear layers, named as in a torch.nn.ModuleList: layers.0.weight [out, in], layers.0.bias [out], ..."""

    def __init__(self, config: MlpConfig, features: int, classes: int) -> None:
        self.config = config
        hidden = [config.width or 0] * (config.depth - 1)
        self.sizes = [features, *hidden, classes]
        self.shapes: dict[str, tuple[int, ...]] = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            self.shapes[f"layers.{i}.weight"] = (fan_out, fan_in)
            if config.bias:
                self.shapes[f"layers.{i}.bias"] = (fan_out,)

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one child, layer after layer from the input."""
        weights: dict[str, Tensor] = {}
        c = self.config
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            weight, bias = init_linear(fan_in, fan_out, c.bias, c.init, c.gain, c.slope, generator)
            weights[f"layers.{i}.weight"] = weight
            if bias is not None:
                weights[f"layers.{i}.bias"] = bias
        return weights

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes] for inputs [C, b, channels, height, width]."""
        x = inputs.flatten(2)
        for i in range(self.config.depth):
            if i > 0 and self.config.slope != 1.0:
                x = functional.leaky_relu(x, self.config.slope)
            weight = weights[f"layers.{i}.weight"].mT
            if self.config.bias:
                x = torch.baddbmm(weights[f"layers.{i}.bias"].unsqueeze(1), x, weight)
            else:
                x = torch.bmm(x, weight)
        return x

    def forward_flops(self) -> tuple[int, int]:
        """Return 2 x the weights of the first layer, and of the others."""
        products = [2 * a * b for a, b in pairwise(self.sizes)]
        return products[0], sum(products[1:])
