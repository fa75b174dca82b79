"""Two linear networks, worked out by hand, with nothing but wrong answers on the line between them.

Images are (255, 0), class 0, and (0, 255), class 1; normalised, x = (1, -1) and (-1, 1). Two hidden units see s x1 and
x1, and the logits are +-(s h1 - h2 / 2), with s = 1 in A and -1 in B. On the line s = 1 - 2 alpha, so that the logit
of the right class is s^2 - 1/2 and that of the other its negative: right where s^2 > 1/2, alpha 0, 0.1, 0.9 and 1.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

MODEL = "mlp:depth=2,width=2,bias=false"
CURVE = (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0)
LOSS = tuple(math.log1p(math.exp(-2 * ((1 - 2 * i / 10) ** 2 - 0.5))) for i in range(11))


def weights(s: float, scale: float = 1.0) -> dict[str, Tensor]:
    first, second = [[s, 0.0], [1.0, 0.0]], [[s, -0.5], [-s, 0.5]]
    return {"layers.0.weight": torch.tensor(first), "layers.1.weight": scale * torch.tensor(second)}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.flatten(1))
        return out


CODE = """
from torch import nn

def build():
    net = nn.Module()
    net.layers = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    net.forward = lambda x: net.layers[1](net.layers[0](x.flatten(1)))
    return net
"""


def write_ends(folder: Path) -> tuple[Path, Path]:
    """Write A and B."""
    paths = folder / "A.safetensors", folder / "B.safetensors"
    for path, s in zip(paths, (1.0, -1.0), strict=True):
        save_file(weights(s), path)
    return paths


def write_images(path: Path, n_train: int = 30, n_test: int = 4) -> Path:
    """Write an .npz, classes in turn: 28 of 30 are 4.7 standard deviations above a constant predictor, 29 are 5.1."""
    arrays = {}
    for half, n in (("train", n_train), ("test", n_test)):
        labels = np.arange(n) % 2
        arrays[f"x_{half}"] = np.where(labels[:, None, None] == 0, [[255, 0]], [[0, 255]]).astype(np.uint8)
        arrays[f"y_{half}"] = labels
    np.savez(path, **arrays)
    return path
