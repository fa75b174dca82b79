"""The networks that are trained, as configs of this project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """`model` is the config of ours; `samples` of an epoch that is timed: fewer where a whole one takes minutes."""

    model: dict[str, Any]
    samples: int
    repeats: int | None = None  # at most so many


PATCHES = {"filters": 128, "kernel": 4}
NETWORKS = {
    "minimal": Network({"kind": "mlp", "depth": 2, "width": 512, "slope": 0.0}, 60_000),
    "mlp8": Network({"kind": "mlp", "depth": 8, "width": 512, "slope": 0.0}, 60_000, 3),
    "cnn": Network({"kind": "conv", **PATCHES}, 20_480, 3),
    "lc-cnn": Network({"kind": "local", **PATCHES}, 20_480, 3),
    "attention": Network({"kind": "attention", "patch": 4, "heads": 8, "head_dim": 48}, 4096, 3),
}
