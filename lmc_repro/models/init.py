"""The initialisations of a linear layer, drawn from an explicit generator."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from lmc_repro.schemas.model import GainKind, InitKind


def init_linear(
    fan_in: int, fan_out: int, bias: bool, init: InitKind, gain: GainKind | None, slope: float, generator: Generator
) -> tuple[Tensor, Tensor | None]:
    """Return weight [fan_out, fan_in] and bias [fan_out] (or None) of one linear layer, float32.

    - torch-default: both uniform in +-1/sqrt(fan_in), as torch.nn.Linear does.
    - kaiming-normal: weight normal with std gain / sqrt(fan_in), bias zero (He et al. 2015, arXiv 1502.01852);
      gain `slope` is sqrt(2 / (1 + slope^2)), `sqrt2` the square root of 2 whatever the slope (torch's default call).
    """
    weight = torch.empty(fan_out, fan_in)
    if init == "torch-default":
        bound = 1.0 / math.sqrt(fan_in)
        weight.uniform_(-bound, bound, generator=generator)
        return weight, torch.empty(fan_out).uniform_(-bound, bound, generator=generator) if bias else None
    factor = math.sqrt(2.0) if gain == "sqrt2" else math.sqrt(2.0 / (1.0 + slope**2))
    weight.normal_(0.0, factor / math.sqrt(fan_in), generator=generator)
    return weight, torch.zeros(fan_out) if bias else None
