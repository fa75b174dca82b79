"""Modules that the tests name FILE.py:FUNCTION: good ones, and what is refused of others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmc_repro.config.catalog import DatasetInfo


class Mlp(nn.Module):
    """The built-in mlp with ReLU, its parameters under the same names."""

    def __init__(self, info: DatasetInfo, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(info.features, width), nn.Linear(width, info.classes)])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers[1](self.layers[0](x.flatten(1)).relu())
        return logits


def mlp(info: DatasetInfo, width: int) -> nn.Module:
    return Mlp(info, width)


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return x + y


def normed(info: DatasetInfo, norm: str = "batch") -> nn.Module:
    """Three layers with statistics, each of which sees what those before it make; `identity` leaves them out."""
    two, one = (nn.BatchNorm2d, nn.BatchNorm1d) if norm == "batch" else (nn.Identity, nn.Identity)
    inner = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), two(6), nn.ReLU())
    first = nn.Conv2d(info.shape[0], 6, 3, stride=2, padding=1)
    ends = nn.AdaptiveMaxPool2d(2), nn.Flatten(), one(24), nn.Linear(24, info.classes)
    return nn.Sequential(first, two(6), nn.ReLU(), Residual(inner), *ends)


class Forked(nn.Module):
    """Goes on as its inputs say: other parameters have gradients in another batch."""

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__()
        self.bright, self.dark = (nn.Linear(info.features, info.classes) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        logits: Tensor = self.bright(x) if float(x.sum()) > 0 else self.dark(x)
        return logits


def forked(info: DatasetInfo) -> nn.Module:
    return Forked(info)


class Applied(nn.Module):
    """A linear map after a function."""

    def __init__(self, info: DatasetInfo, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.last = function, nn.Linear(info.features, info.classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.function(x.flatten(1)))
        return logits


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "erf": torch.erf,
    "svd": lambda x: x @ torch.linalg.pinv(torch.ones(x.shape[1], x.shape[1])),
    "float64": lambda x: (x.double() @ torch.eye(x.shape[1], dtype=torch.float64)).float(),
    "fft": lambda x: torch.fft.rfft(x).abs()[:, :1].expand_as(x),
    "noise": lambda x: x + 0.1 * torch.randn_like(x),
    "python": lambda x: x * random.random(),
}


def applied(info: DatasetInfo, function: str) -> nn.Module:
    return Applied(info, FUNCTIONS[function])


class Counting(Applied):
    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(info, nn.Identity())
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return super().forward(x)


class Twice(nn.Module):
    def __init__(self, info: DatasetInfo) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(info.features), nn.Linear(info.features, info.classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.norm(x.flatten(1))))
        return logits


OTHERS: dict[str, Callable[[DatasetInfo], Any]] = {
    "dropout": lambda info: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(info.features, info.classes)),
    "rrelu": lambda info: nn.Sequential(nn.Flatten(), nn.RReLU(), nn.Linear(info.features, info.classes)),
    "counting": Counting,
    "twice": Twice,
    "shape": lambda info: nn.Flatten(),
    "outputs": lambda info: nn.Sequential(nn.Flatten(), nn.Linear(info.features, info.classes + 1)),
    "numpy": lambda info: nn.Sequential(nn.Flatten(), _drawn(nn.Linear(info.features, info.classes))),
    "none": lambda info: None,
    "raises": lambda info: 1 / 0,
    "quiet": lambda info: nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(info.features, info.classes)),
}


def _drawn(layer: nn.Linear) -> nn.Linear:
    nn.init.constant_(layer.weight, float(np.random.default_rng().random()))
    return layer


def other(info: DatasetInfo, name: str) -> Any:
    return OTHERS[name](info)
