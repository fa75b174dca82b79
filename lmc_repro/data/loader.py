"""The loader of a stack: from memory, or streamed by ffcv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmc_repro.data.batch import StackLoader
from lmc_repro.data.dataset import Dataset
from lmc_repro.schemas.data import LoaderKind, OrderRule
from lmc_repro.schemas.seeds import Seeds


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
