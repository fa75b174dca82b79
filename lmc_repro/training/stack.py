"""The weights of C runs as one buffer, and each run's tensors as views of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lmc_repro.config.base import canonical_json
from lmc_repro.config.run import RunConfig
from lmc_repro.models.base import Model

# float32 in 64 bytes: a matrix starts on a cache line in every stack, so kernels cannot choose by alignment.
_ALIGN = 16


class Layout:
    """Positions of a model's tensors in a run's row of a [C, size] buffer; gaps are zero and stay zero."""

    def __init__(self, model: Model) -> None:
        self.shapes = model.shapes
        self.offsets: dict[str, int] = {}
        offset = 0
        for name, shape in model.shapes.items():
            self.offsets[name] = offset
            offset += -(-torch.Size(shape).numel() // _ALIGN) * _ALIGN
        self.size = offset

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """Return views [C, *shape] by name into a buffer [C, size]."""
        views = {}
        for name, shape in self.shapes.items():
            start = self.offsets[name]
            views[name] = buffer[:, start : start + torch.Size(shape).numel()].view(buffer.shape[0], *shape)
        return views

    def stack(self, runs: Sequence[dict[str, Tensor]]) -> Tensor:
        """Return a buffer [C, size] with the weights of each run in its row."""
        buffer = torch.zeros(len(runs), self.size)
        for name, view in self.views(buffer).items():
            for row, run in zip(view, runs, strict=True):
                row.copy_(run[name])
        return buffer

    def run(self, buffer: Tensor, index: int) -> dict[str, Tensor]:
        """Return a copy of one run's weights by name, contiguous, on the CPU."""
        return {name: view[index].to("cpu", copy=True) for name, view in self.views(buffer).items()}


def stack_key(config: RunConfig) -> str:
    """Return a text that is equal for runs that may share a stack: seeds, initialisation, rate and schedule aside."""
    shared = config.without_seeds()
    del shared["schedule"]
    own = {"optimizer": ("lr",), "model": ("init", "gain")}
    parts = {part: {k: v for k, v in shared[part].items() if k not in names} for part, names in own.items()}
    return canonical_json({**shared, **parts})
