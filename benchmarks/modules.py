"""The same networks as modules, as a user of torch would write them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.networks import NETWORKS, PATCHES

CLASSES, SIDE = 10, 28


def module(name: str) -> nn.Module:
    """Return the network as a user of torch would write it."""
    model = NETWORKS[name].model
    if model["kind"] == "mlp":
        sizes = [SIDE * SIDE, *[model["width"]] * (model["depth"] - 1), CLASSES]
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])
    if model["kind"] == "conv":
        units = (SIDE // model["kernel"]) ** 2 * model["filters"]
        convolution = nn.Conv2d(1, model["filters"], model["kernel"], stride=model["kernel"])
        return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(units, CLASSES))
    return _Local(**PATCHES) if model["kind"] == "local" else _Attention(model["patch"], model["heads"], 48)


class _Local(nn.Module):
    """A filter bank of its own at every position: patches from unfold, one einsum."""

    def __init__(self, filters: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        positions, values = (SIDE // kernel) ** 2, kernel**2
        bound = values**-0.5
        self.weight = nn.Parameter(torch.empty(positions, filters, values).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(positions, filters))
        self.output = nn.Linear(positions * filters, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = functional.unfold(x, self.kernel, stride=self.kernel)
        x = torch.einsum("bvp,pfv->bpf", patches, self.weight) + self.bias
        return self.output(functional.relu(x).flatten(1))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Patches through LayerNorm and Linear, a class token, learned positions, MultiheadAttention, a head."""

    def __init__(self, patch: int, heads: int, head_dim: int) -> None:
        super().__init__()
        values, d = patch**2, heads * head_dim
        self.patch = patch
        self.embed = nn.Sequential(nn.LayerNorm(values), nn.Linear(values, d), nn.LayerNorm(d))
        self.token = nn.Parameter(torch.zeros(1, 1, d))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + (SIDE // patch) ** 2, d))
        self.norm = nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, bias=False, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(functional.unfold(x, self.patch, stride=self.patch).transpose(1, 2))
        x = self.norm(torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions)
        # Only the class token is read: a user who knows it asks for its query alone.
        x, _ = self.attention(x[:, :1], x, x, need_weights=False)
        return self.head(x[:, 0])  # type: ignore[no-any-return]
