"""Batches for a stack of children: each child has a loader seed, all step together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from lmc_repro.data.dataset import Dataset
from lmc_repro.data.order import OrderRule
from lmc_repro.errors import LmcError

LoaderKind = Literal["resident", "ffcv"]


class StackLoader(Protocol):
    """Train batches for C children, in the order of each child's loader seed."""

    steps_per_epoch: int

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch from `start_step` on: images uint8 [C, b, ch, H, W], labels int64 [C, b].

        b is the batch size, or what is left in the last batch. A batch is valid until the next one is asked for.
        """
        ...


def count_steps(n: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches in an epoch of n samples; LmcError if there would be none."""
    if batch_size < 1:
        raise LmcError(f"batch size {batch_size}: must be at least 1")
    steps = n // batch_size if drop_last else -(-n // batch_size)
    if steps == 0:
        raise LmcError(f"batch size {batch_size} with drop_last leaves no batch of {n} samples; make it at most {n}")
    return steps


def open_loader(
    kind: LoaderKind,
    dataset: Dataset,
    prepared_dir: Path,
    loader_seeds: Sequence[int],
    batch_size: int,
    drop_last: bool,
    rule: OrderRule,
    workers: int = 1,
) -> StackLoader:
    """Return the loader of `kind`; both kinds give the same bits.

    `resident` gathers from the data set's own tensors, on whichever device they are; `ffcv` streams
    prepared_dir/<name>/train.beton with `workers` threads. LmcError where ffcv or its file is missing or damaged.
    """
    # Here, not above: a GPU machine without ffcv uses this module too.
    if kind == "resident":
        from lmc_repro.data.resident import ResidentLoader

        return ResidentLoader(dataset.train, loader_seeds, batch_size, drop_last, rule)
    from lmc_repro.data.streaming import FfcvLoader

    return FfcvLoader(dataset, prepared_dir, loader_seeds, batch_size, drop_last, rule, workers)
