"""Loaders of train batches for a stack of runs: gathered from memory, or streamed by ffcv, with the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_file
from lmc_repro.config.run import LoaderKind, OrderRule, Seeds
from lmc_repro.data.beton import open_stream, start_stream
from lmc_repro.data.dataset import Dataset, Split
from lmc_repro.data.order import epoch_order, epoch_orders
from lmc_repro.data.status import folder_of, require_ready


class Batch(NamedTuple):
    """b samples for each of C runs, valid until the next batch is asked for.

    images uint8 [C, b, ch, H, W]; labels int64 [C, b]; indices int64 [C, b]: which samples these are.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


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
    """Return the loader of `kind` for a run of each of `seeds`; both kinds give the same bits.

    `resident` gathers from the data set's own tensors, on whichever device they are; `ffcv` streams
    prepared_dir/<name>/train.beton with `workers` threads. Labels are the data set's own in both. LmcError
    where ffcv or its file is missing or damaged.
    """
    if kind == "resident":
        return ResidentLoader(dataset.train, seeds, batch_size, drop_last, rule)
    path = _checked_beton(dataset, prepared_dir)
    return FfcvLoader(path, dataset.train, seeds, batch_size, drop_last, rule, workers)


class StackLoader:
    """Train batches for C runs, in the order of each run's loader seed in that epoch; base of both kinds."""

    def __init__(self, split: Split, seeds: Sequence[Seeds], batch_size: int, drop_last: bool, rule: OrderRule) -> None:
        self.steps_per_epoch = count_steps(len(split), batch_size, drop_last)
        self._split, self._seeds = split, tuple(seeds)
        self._batch_size = min(batch_size, len(split))
        self._rule: OrderRule = rule

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch; b is the batch size, or what is left in the last."""
        raise NotImplementedError

    def _cuts(self) -> Iterator[slice]:
        """Yield the place of each batch in an epoch's order."""
        return (slice(step * self._batch_size, (step + 1) * self._batch_size) for step in range(self.steps_per_epoch))


class ResidentLoader(StackLoader):
    """A loader that gathers rows of `split` into one reused buffer; batches stay on the split's device."""

    def __init__(self, split: Split, seeds: Sequence[Seeds], batch_size: int, drop_last: bool, rule: OrderRule) -> None:
        super().__init__(split, seeds, batch_size, drop_last, rule)
        rows = len(self._seeds) * self._batch_size
        self._rows = split.images.reshape(len(split), -1)
        self._images = torch.empty((rows, self._rows.shape[1]), dtype=torch.uint8, device=split.images.device)
        self._labels = torch.empty(rows, dtype=torch.int64, device=split.images.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of `epoch`; see `StackLoader.epoch`."""
        # One transfer per epoch; each batch is then a slice that is already on the device.
        loader_seeds = [seeds.loader_at(epoch) for seeds in self._seeds]
        indices = epoch_orders(len(self._split), loader_seeds, epoch, self._rule, self._images.device)
        for cut in self._cuts():
            these = indices[:, cut]
            chosen = these.reshape(-1)
            images, labels = self._images[: len(chosen)], self._labels[: len(chosen)]
            torch.index_select(self._rows, 0, chosen, out=images)
            torch.index_select(self._split.labels, 0, chosen, out=labels)
            yield Batch(images.view(*these.shape, *self._split.images.shape[1:]), labels.view(these.shape), these)


class FfcvLoader(StackLoader):
    """A loader over the .beton file at `path`, which holds the images of `split`.

    ffcv sees a batch of C runs times b samples; its order lists, for every step, the first run's indices, then the
    second's, and so on, so a sample comes up C times per epoch. Labels are the split's, looked up: they may be
    noisy, those of the file are clean. `workers` (at most the cores) decode in parallel and change no bit.
    Creating one compiles ffcv's pipeline: about half a second.
    """

    def __init__(
        self,
        path: Path,
        split: Split,
        seeds: Sequence[Seeds],
        batch_size: int,
        drop_last: bool,
        rule: OrderRule,
        workers: int,
    ) -> None:
        super().__init__(split, seeds, batch_size, drop_last, rule)
        self._loader = open_stream(path, len(self._seeds) * self._batch_size, workers)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of `epoch`; see `StackLoader.epoch`."""
        n = len(self._split)
        orders = np.stack([epoch_order(n, seeds.loader_at(epoch), epoch, self._rule) for seeds in self._seeds])
        indices = np.concatenate([orders[:, cut].reshape(-1) for cut in self._cuts()])
        order = torch.from_numpy(orders)
        with closing(start_stream(self._loader, indices)) as batches:
            for cut, images in zip(self._cuts(), batches, strict=True):
                these = order[:, cut]
                yield Batch(images.view(*these.shape, *images.shape[1:]), self._split.labels[these], these)


def _checked_beton(dataset: Dataset, prepared_dir: Path) -> Path:
    name = dataset.info.name
    status = require_ready(prepared_dir, name)
    path = folder_of(prepared_dir, name) / "train.beton"
    fix = f"run `lmc prepare {name}`"
    if status.get("digest") != dataset.digest:
        raise LmcError(f"{path}: was prepared from other arrays than the data set in use; {fix}")
    if not path.is_file():
        raise LmcError(f"{path}: no such file; {fix}")
    # ffcv follows the file's pointers unchecked: a damaged file would give wrong images, or crash.
    if sha256_file(path) != status.get("files", {}).get(path.name):
        raise LmcError(f"{path}: its sha256 is not the one in status.json; {fix}")
    return path
