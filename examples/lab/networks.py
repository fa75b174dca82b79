"""Networks of the field as plain torch modules, named in a study by `module: networks.py:resnet20`.

Each function takes the data set's facts (`info.shape` is channels, height, width; `info.classes`) and its own settings.
None draws random numbers in its forward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels at each place of an image: no statistics, so nothing to re-estimate on a path."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMS = {"batch": nn.BatchNorm2d, "layer": ChannelNorm}


class Block(nn.Module):
    """Two 3 x 3 convolutions and a skip; where the size halves, the skip takes every other pixel (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        skip = x[:, :, :: self.stride, :: self.stride]
        skip = functional.pad(skip, (0, 0, 0, 0, 0, self.added)) if self.added else skip
        return functional.relu(y + skip)


def resnet20(info, width: int = 16, norm: str = "batch") -> nn.Module:
    """ResNet-20 of He et al. 2016 (arXiv 1512.03385, Section 4.2), `width` channels in its first stage."""
    layer = NORMS[norm]
    parts: list[nn.Module] = [nn.Conv2d(info.shape[0], width, 3, 1, 1, bias=False), layer(width), nn.ReLU()]
    inputs = width
    for stage in range(3):
        for i in range(3):
            outputs = width * 2**stage
            parts.append(Block(inputs, outputs, 2 if stage and i == 0 else 1, layer))
            inputs = outputs
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, info.classes))


def vgg11(info, width: int = 64, norm: str = "none") -> nn.Module:
    """VGG-11 for small images (Simonyan and Zisserman 2015, arXiv 1409.1556): eight convolutions and a linear layer.

    It halves an image five times, and smaller ones as often as they can be halved.
    """
    parts: list[nn.Module] = []
    inputs, side = info.shape[0], info.shape[1]
    for i, factor in enumerate((1, 2, 4, 4, 8, 8, 8, 8)):
        outputs = width * factor
        parts.append(nn.Conv2d(inputs, outputs, 3, 1, 1))
        if norm != "none":
            parts.append(NORMS[norm](outputs))
        parts.append(nn.ReLU())
        if i in (0, 1, 3, 5, 7) and side >= 2:
            parts.append(nn.MaxPool2d(2))
            side //= 2
        inputs = outputs
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, info.classes))


class Encoder(nn.Module):
    """A pre-norm transformer block: attention and an MLP of twice the width, each with a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5).softmax(-1)
        x = x + self.out((attention @ v).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches, learned positions, encoder blocks, the mean token, a linear layer."""

    def __init__(self, info, patch: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        channels, height, breadth = info.shape
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(torch.randn(1, (height // patch) * (breadth // patch), width) * 0.02)
        self.blocks = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, info.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))


def vit(info, patch: int = 4, width: int = 64, depth: int = 4, heads: int = 4) -> nn.Module:
    """A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) without a class token."""
    return ViT(info, patch, width, depth, heads)
