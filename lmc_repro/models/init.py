"""The initialisations of a linear map, drawn from an explicit generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lmc_repro.config.run import GainKind, InitKind


@dataclass(frozen=True)
class LinearInit:
    """How linear maps are drawn, float32; `slope` is that of the network's leaky ReLU (1: there is none).

    - torch-default: weights and biases uniform in +-1/sqrt(fan_in), as torch.nn.Linear and torch.nn.Conv2d do.
    - kaiming-normal: weights normal with std gain / sqrt(fan_in), biases zero (He et al. 2015, arXiv 1502.01852);
      gain `slope` is sqrt(2 / (1 + slope^2)), `sqrt2` the square root of 2 whatever the slope (torch's default call).
    """

    init: InitKind
    gain: GainKind | None
    slope: float
    generator: Generator

    def weight(self, *shape: int) -> Tensor:
        """Return weights of `shape`, whose last side is the fan in."""
        fan_in = shape[-1]
        weight = torch.empty(*shape)
        if self.init == "torch-default":
            bound = 1.0 / math.sqrt(fan_in)
            return weight.uniform_(-bound, bound, generator=self.generator)
        factor = math.sqrt(2.0) if self.gain == "sqrt2" else math.sqrt(2.0 / (1.0 + self.slope**2))
        return weight.normal_(0.0, factor / math.sqrt(fan_in), generator=self.generator)

    def bias(self, fan_in: int, *shape: int) -> Tensor:
        """Return biases of `shape` for units of `fan_in` inputs each."""
        if self.init != "torch-default":
            return torch.zeros(*shape)
        bound = 1.0 / math.sqrt(fan_in)
        return torch.empty(*shape).uniform_(-bound, bound, generator=self.generator)
