"""Batches streamed by FFCV: one ffcv.Loader for a whole stack, and our order instead of ffcv's."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmc_repro.data.batch import Batch, count_steps
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.order import epoch_order
from lmc_repro.data.status import require_ready, sha256_of
from lmc_repro.data.threads import import_ffcv, restore_torch_threads, torch_threads_kept
from lmc_repro.errors import LmcError
from lmc_repro.schemas.data import OrderRule
from lmc_repro.schemas.seeds import Seeds


class FfcvLoader:
    """A `StackLoader` over prepared_dir/<name>/train.beton.

    ffcv sees a batch of C children times b samples; its order lists, for every step, the first child's indices, then
    the second's, and so on, so a sample comes up C times an epoch. Labels are the data set's, looked up: they may be
    noisy, those of the file are clean. `workers` (at most the cores) decode in parallel and change no bit.
    Making one compiles ffcv's pipeline: about half a second.
    """

    def __init__(
        self,
        dataset: Dataset,
        prepared_dir: Path,
        seeds: Sequence[Seeds],
        batch_size: int,
        drop_last: bool,
        rule: OrderRule,
        workers: int = 1,
    ) -> None:
        self._n, self._labels = len(dataset.train), dataset.train.labels
        self.steps_per_epoch = count_steps(self._n, batch_size, drop_last)
        self._seeds = tuple(seeds)
        self._batch_size = min(batch_size, self._n)
        self._rule: OrderRule = rule
        self._loader = _open(_checked_beton(dataset, prepared_dir), len(self._seeds) * self._batch_size, workers)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from `start_step` on; see `StackLoader.epoch`."""
        if start_step >= self.steps_per_epoch:
            return
        orders = [epoch_order(self._n, seeds.loader_at(epoch), epoch, self._rule) for seeds in self._seeds]
        indices = interleave(orders, self._batch_size, start_step, self.steps_per_epoch)
        threads = torch.get_num_threads()
        order = torch.from_numpy(np.stack(orders))
        with closing(_start(self._loader, indices)) as batches:
            for step, (images, _) in enumerate(batches, start_step):
                restore_torch_threads(threads)
                these = order[:, step * self._batch_size : (step + 1) * self._batch_size]
                yield Batch(images.view(*these.shape, *images.shape[1:]), self._labels[these], these)


def interleave(
    orders: Sequence[npt.NDArray[np.int64]], batch_size: int, start_step: int, end_step: int
) -> npt.NDArray[np.int64]:
    """Return the children's batches of steps start..end-1, step by step and child by child, in one row."""
    cuts = [slice(step * batch_size, (step + 1) * batch_size) for step in range(start_step, end_step)]
    return np.concatenate([order[cut] for cut in cuts for order in orders])


class _GivenOrder:
    """What ffcv.Loader asks for an epoch's indices; the epoch is ours, so its own counter is not looked at."""

    def __init__(self, indices: npt.NDArray[np.int64]) -> None:
        self._indices = indices

    def sample_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return self._indices


def _checked_beton(dataset: Dataset, prepared_dir: Path) -> Path:
    name = dataset.info.name
    status = require_ready(prepared_dir, name)
    path = prepared_dir / name / "train.beton"
    fix = f"run `lmc prepare {name}`"
    if status.get("digest") != dataset.digest:
        raise LmcError(f"{path}: was prepared from other arrays than the data set in use; {fix}")
    if not path.is_file():
        raise LmcError(f"{path}: no such file; {fix}")
    # ffcv follows the file's pointers without looking: a damaged file would be read as wrong images, or crash.
    if sha256_of(path) != status.get("files", {}).get(path.name):
        raise LmcError(f"{path}: its sha256 is not the one in status.json; {fix}")
    return path


def _open(path: Path, batch_size: int, workers: int) -> Any:
    """Return an ffcv.Loader that gives (images, labels), whatever the workers, with nothing left to chance."""
    import_ffcv()
    with torch_threads_kept():
        import numba
        from ffcv.loader import Loader

        # numba refuses more threads than it was started with: the cores, or NUMBA_NUM_THREADS.
        config: Any = numba.config
        workers = max(1, min(workers, config.NUMBA_NUM_THREADS))
        # A seed, although the order is ours: without one ffcv draws from numpy's global generator.
        return Loader(str(path), batch_size, num_workers=workers, os_cache=True, seed=0, drop_last=False)


def _start(loader: Any, indices: npt.NDArray[np.int64]) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Start ffcv's thread on `indices` and yield its batches; the thread has ended when this generator has."""
    loader.traversal_order = _GivenOrder(indices)
    loader.first_traversal_order = indices  # ffcv takes an epoch's length from here
    with torch_threads_kept():
        batches = iter(loader)
    try:
        # A failure to compile ends ffcv's thread before its first batch, and ffcv would wait for ever.
        while batches.output_queue.empty():
            if not batches.is_alive() and batches.output_queue.empty():
                raise LmcError(f"{loader.fname}: ffcv's loading thread failed; use `loader: resident`")
            time.sleep(0.001)
        yield from batches
    finally:
        batches.close()
        batches.join()
