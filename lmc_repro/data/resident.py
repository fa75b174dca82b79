"""Batches gathered from a training set that lies decoded in memory, of the host or of a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from lmc_repro.data.batch import Batch, count_steps
from lmc_repro.data.dataset import Split
from lmc_repro.data.order import epoch_orders
from lmc_repro.schemas.data import OrderRule
from lmc_repro.schemas.seeds import Seeds


class ResidentLoader:
    """A `StackLoader` that gathers rows of `split` into one reused buffer; batches stay on the split's device."""

    def __init__(self, split: Split, seeds: Sequence[Seeds], batch_size: int, drop_last: bool, rule: OrderRule) -> None:
        self.steps_per_epoch = count_steps(len(split), batch_size, drop_last)
        self._split = split
        self._seeds = tuple(seeds)
        self._batch_size = min(batch_size, len(split))
        self._rule: OrderRule = rule
        rows = len(self._seeds) * self._batch_size
        self._rows = split.images.reshape(len(split), -1)
        self._images = torch.empty((rows, self._rows.shape[1]), dtype=torch.uint8, device=split.images.device)
        self._labels = torch.empty(rows, dtype=torch.int64, device=split.images.device)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from `start_step` on; see `StackLoader.epoch`."""
        n, children = len(self._split), len(self._seeds)
        # One transfer an epoch; each batch is then a slice that is already on the device.
        loader_seeds = [seeds.loader_at(epoch) for seeds in self._seeds]
        indices = epoch_orders(n, loader_seeds, epoch, self._rule, self._images.device)
        for step in range(start_step, self.steps_per_epoch):
            these = indices[:, step * self._batch_size : (step + 1) * self._batch_size]
            chosen = these.reshape(-1)
            images, labels = self._images[: len(chosen)], self._labels[: len(chosen)]
            torch.index_select(self._rows, 0, chosen, out=images)
            torch.index_select(self._split.labels, 0, chosen, out=labels)
            shape = (children, these.shape[1], *self._split.images.shape[1:])
            yield Batch(images.view(shape), labels.view(these.shape), these)
