"""A module that reaches every product of torch's: convolutions of all sorts, linear maps, attention, `@`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmc_repro.config.catalog import DatasetInfo


class Mixed(nn.Module):
    """Padded, strided, grouped and dilated convolutions, BatchNorm, two kinds of attention, functions of MKL's."""

    def __init__(self, channels: int, info: DatasetInfo) -> None:
        super().__init__()
        self.first = nn.Conv2d(info.shape[0], channels, 3, padding=1)
        self.grouped = nn.Conv2d(channels, channels, 3, stride=2, groups=channels // 2, bias=False)
        self.dilated = nn.Conv2d(channels, channels, (1, 2), padding=(0, 1), dilation=2)
        self.norm, self.layer_norm = nn.BatchNorm2d(channels), nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)
        self.query = nn.Parameter(torch.randn(channels, channels) * 0.1)
        self.head = nn.Linear(channels, info.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.norm(self.grouped(self.first(x))))
        x = (x + self.dilated(x)[..., : x.shape[3]]).flatten(2).transpose(1, 2)
        x = self.layer_norm(x + self.attention(x, x, x)[0])
        x = x + functional.scaled_dot_product_attention(x @ self.query, x, x)
        size = (x.square().sum((1, 2), keepdim=True) + 1.0).sqrt().log().exp()
        logits: Tensor = self.head(torch.tanh((x / size).sum(1)))
        return logits


def build(info: DatasetInfo, channels: int) -> Mixed:
    return Mixed(channels, info)
