"""The limit: this machine's matrix product in single precision."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lmc_repro.common.numerics import use_one_thread


def products(size: int, count: int) -> Callable[[], float]:
    """Return `count` products of square matrices, which say how many FLOPs they are."""
    use_one_thread()
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(size, size, generator=generator) for _ in range(2))
    out = torch.empty(size, size)

    def work() -> float:
        for _ in range(count):
            torch.mm(a, b, out=out)
        return 2.0 * size**3 * count

    return work
