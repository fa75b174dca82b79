"""Batches for a stack of children: each child has a loader seed, all step together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from lmc_repro.data.dataset import Dataset
from lmc_repro.data.order import OrderRule
from lmc_repro.errors import LmcError
from lmc_repro.schemas.seeds import Seeds

LoaderKind = Literal["resident", "ffcv"]


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


def open_loader(
    kind: LoaderKind,
    dataset: Dataset,
    prepared_dir: Path,
    seeds: Sequence[Seeds],
    batch_size: int,
    drop_last: bool,
    rule: OrderRule,
    workers: int = 1,
) -> StackLoader:
    """Return the loader of `kind` for a child of each of `seeds`; both kinds give the same bits.

    `resident` gathers from the data set's own tensors, on whichever device they are; `ffcv` streams
    prepared_dir/<name>/train.beton with `workers` threads. Labels are the data set's own in both. LmcError
    where ffcv or its file is missing or damaged.
    """
    # Here, not above: a GPU machine without ffcv uses this module too.
    if kind == "resident":
        from lmc_repro.data.resident import ResidentLoader

        return ResidentLoader(dataset.train, seeds, batch_size, drop_last, rule)
    from lmc_repro.data.streaming import FfcvLoader

    return FfcvLoader(dataset, prepared_dir, seeds, batch_size, drop_last, rule, workers)
