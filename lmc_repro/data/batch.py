"""What a loader gives: batches for a stack of children, each with a loader seed, all in step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from lmc_repro.errors import LmcError


class Batch(NamedTuple):
    """b samples for each of C children, valid until the next batch is asked for.

    images uint8 [C, b, ch, H, W]; labels int64 [C, b]; indices int64 [C, b]: which samples these are.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


class StackLoader(Protocol):
    """Train batches for C children, in the order of each child's loader seed in that epoch."""

    steps_per_epoch: int

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from `start_step` on; b is the batch size, or what is left in the last."""
        ...


def count_steps(n: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches in an epoch of n samples; LmcError if there would be none."""
    if batch_size < 1:
        raise LmcError(f"batch size {batch_size}: must be at least 1")
    steps = n // batch_size if drop_last else -(-n // batch_size)
    if steps == 0:
        raise LmcError(f"batch size {batch_size} with drop_last leaves no batch of {n} samples; make it at most {n}")
    return steps
