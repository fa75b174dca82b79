"""The networks on patches as plain torch modules: they import nothing of the package, and take its weights by name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int]


class PlainConv(nn.Module):
    """Conv2d with stride = kernel, ReLU, a linear layer on the units position by position."""

    def __init__(self, shape: Shape, classes: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(shape[0], filters, kernel, stride=kernel)
        self.output = nn.Linear(shape[1] // kernel * (shape[2] // kernel) * filters, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(F.relu(self.hidden(x)).permute(0, 2, 3, 1).flatten(1))

    def load(self, weights: dict[str, Tensor]) -> None:
        self.load_state_dict(weights | {"hidden.weight": weights["hidden.weight"].view_as(self.hidden.weight)})

    def named(self) -> dict[str, Tensor]:
        return {name: p.flatten(1) if name == "hidden.weight" else p for name, p in self.named_parameters()}


class PlainLocal(nn.Module):
    """A linear layer of its own at every position, row by row; ReLU; a linear layer."""

    def __init__(self, shape: Shape, classes: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.kernel, channels = kernel, shape[0]
        self.corners = [(i, j) for i in range(0, shape[1], kernel) for j in range(0, shape[2], kernel)]
        self.hidden = nn.ModuleList(nn.Linear(channels * kernel**2, filters) for _ in self.corners)
        self.output = nn.Linear(len(self.corners) * filters, classes)

    def forward(self, x: Tensor) -> Tensor:
        k = self.kernel
        seen = [x[:, :, i : i + k, j : j + k].flatten(1) for i, j in self.corners]
        return self.output(F.relu(torch.cat([layer(s) for layer, s in zip(self.hidden, seen, strict=True)], 1)))

    def load(self, weights: dict[str, Tensor]) -> None:
        taken = {f"output.{part}": weights[f"output.{part}"] for part in ("weight", "bias")}
        for p in range(len(self.corners)):
            taken |= {f"hidden.{p}.{part}": weights[f"hidden.{part}"][p] for part in ("weight", "bias")}
        self.load_state_dict(taken)

    def named(self) -> dict[str, Tensor]:
        found = {f"output.{name}": p for name, p in self.output.named_parameters()}
        for part in ("weight", "bias"):
            found[f"hidden.{part}"] = torch.stack([getattr(layer, part) for layer in self.hidden])
        return found


class PlainAttention(nn.Module):
    """LayerNorm, Linear and MultiheadAttention of torch, with the queries, keys and values of all tokens."""

    def __init__(self, shape: Shape, classes: int, patch: int, heads: int, head_dim: int) -> None:
        super().__init__()
        channels, height, width = shape
        values, dim = channels * patch**2, heads * head_dim
        self.patch = patch
        self.patch_norm, self.embed, self.embed_norm = nn.LayerNorm(values), nn.Linear(values, dim), nn.LayerNorm(dim)
        self.class_token = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.zeros(1 + height // patch * (width // patch), dim))
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, bias=True, batch_first=True)
        self.head_norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)
        nn.init.zeros_(self.attention.in_proj_bias).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.unfold(x, self.patch, stride=self.patch).transpose(1, 2)
        x = self.embed_norm(self.embed(self.patch_norm(x)))
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], 1) + self.positions
        x = self.norm(x)
        x, _ = self.attention(x, x, x, need_weights=False)
        return self.head(self.head_norm(x)[:, 0])

    def load(self, weights: dict[str, Tensor]) -> None:
        taken = {theirs(name): weight for name, weight in weights.items()}
        self.load_state_dict(taken | {"attention.in_proj_bias": self.attention.in_proj_bias})

    def named(self) -> dict[str, Tensor]:
        ours = {theirs(name): name for name in ("qkv.weight", "project.weight", "project.bias")}
        return {ours.get(name, name): p for name, p in self.named_parameters() if p.requires_grad}


def theirs(name: str) -> str:
    return {"qkv.weight": "attention.in_proj_weight"}.get(name, name.replace("project.", "attention.out_proj."))
