"""The networks that are trained, as configs of this project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """`model` is the config of ours; `samples` of the epoch that is timed: not all, since eight loops take turns."""

    model: dict[str, Any]
    samples: int
    repeats: int | None = None  # at most so many


PATCHES = {"filters": 128, "kernel": 4}
NETWORKS = {
    "minimal": Network({"kind": "mlp", "depth": 2, "width": 512, "slope": 0.0}, 20_480),
    "mlp8": Network({"kind": "mlp", "depth": 8, "width": 512, "slope": 0.0}, 8192, 3),
    "cnn": Network({"kind": "conv", **PATCHES}, 8192, 3),
    "lc-cnn": Network({"kind": "local", **PATCHES}, 8192, 3),
    "attention": Network({"kind": "attention", "patch": 4, "heads": 8, "head_dim": 48}, 2048, 3),
}
