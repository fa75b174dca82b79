"""The only module that uses ffcv: lossless, deterministic .beton files, and streams of their batches."""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing import Value
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.data.dataset import Split


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Give torch back its number of threads when the block ends.

    ffcv sets it on import, in every Loader and in every epoch; the bits of training depend on it.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        _restore_torch_threads(before)


def _restore_torch_threads(count: int) -> None:
    """Set torch's number of threads to `count` and check it."""
    torch.set_num_threads(count)
    if torch.get_num_threads() != count:
        raise RuntimeError(f"torch has {torch.get_num_threads()} threads after set_num_threads({count})")


def import_ffcv() -> None:
    """Import ffcv, leaving torch's threads as they are; LmcError if it is missing or cannot be loaded."""
    with _torch_threads_kept():
        try:
            with _plain_dict():
                import ffcv  # noqa: F401
        except ImportError as error:
            found = " ".join(str(error).split())
            raise LmcError(
                f"ffcv cannot be imported ({found}); install it with its system packages, or remove it and train with "
                "`loader: resident`, which has the same bits"
            ) from None


@contextmanager
def _plain_dict() -> Iterator[None]:
    """Replace numba's typed dictionary by a dict within the block.

    ffcv makes one as it is imported, for the two codes of its image formats, which only Python reads; numba compiles
    three seconds for it.
    """
    from numba import typed

    before = typed.Dict
    typed.Dict = dict
    try:
        yield
    finally:
        typed.Dict = before


class _Samples:
    """The split as the indexable that ffcv's writer reads: (uint8 [C, H, W], int)."""

    def __init__(self, split: Split) -> None:
        self._images, self._labels = split.images.numpy(), split.labels.numpy()

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self._images[index], int(self._labels[index])


def write_beton(path: Path, split: Split) -> None:
    """Write `split` to `path` with the fields images (NDArrayField, uint8 [C, H, W]) and label (IntField).

    The bytes are those of ffcv's DatasetWriter with one worker and the smallest page that holds an image. The
    worker's function is called here instead of in a process of its own: with more than one worker the bytes differ,
    and the writer waits forever where a worker dies, of a full disk for example.
    """
    import_ffcv()
    from ffcv.fields import IntField, NDArrayField
    from ffcv.memory_allocator import MemoryAllocator
    from ffcv.writer import MIN_PAGE_SIZE, DatasetWriter, worker_job_indexed_dataset

    shape = tuple(split.images.shape[1:])
    page = MIN_PAGE_SIZE
    while page < split.images[0].numel():
        page *= 2
    fields = {"images": NDArrayField(np.dtype("uint8"), shape), "label": IntField()}
    writer = DatasetWriter(str(path), fields, page_size=page, num_workers=1)
    writer.num_samples = len(split)
    writer.prepare()
    try:
        work: queue.SimpleQueue[list[tuple[int, int]] | None] = queue.SimpleQueue()
        work.put([(i, i) for i in range(len(split))])
        work.put(None)
        allocations: queue.SimpleQueue[list[tuple[int, int, int]]] = queue.SimpleQueue()
        allocator = MemoryAllocator(str(path), writer.data_region_start, page)
        shared = (writer.metadata_sm, writer.metadata_type, fields, allocator, Value("Q", 0), allocations)
        worker_job_indexed_dataset(work, *shared, _Samples(split))
        writer.finalize(allocations.get())
    finally:
        writer.metadata_sm.unlink()
        with contextlib.suppress(BufferError):  # an exception being raised still holds the view
            writer.metadata_sm.close()


def read_beton(path: Path) -> Split:
    """Return the split that `write_beton` wrote, decoded through ffcv's reader but without its compiled pipeline."""
    import_ffcv()
    from ffcv.reader import Reader

    reader = Reader(str(path))
    shape = [int(side) for side in reader.handlers["images"].shape]
    content = np.memmap(path, np.uint8, mode="r")
    starts = reader.metadata["f0"].astype(np.int64)
    images = np.stack([content[start : start + math.prod(shape)] for start in starts]).reshape(-1, *shape)
    labels = reader.metadata["f1"].astype(np.int64)
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


class _GivenOrder:
    """Order that ffcv.Loader asks for an epoch's indices; we choose the epoch, so ffcv's own counter is ignored."""

    def __init__(self, indices: npt.NDArray[np.int64]) -> None:
        self._indices = indices

    def sample_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return self._indices


def open_stream(path: Path, batch_size: int, workers: int) -> Any:
    """Return an ffcv.Loader that gives (images, labels), deterministic for any number of workers."""
    import_ffcv()
    with _torch_threads_kept():
        import numba
        from ffcv.loader import Loader

        # numba refuses more threads than it was started with: the cores, or NUMBA_NUM_THREADS.
        config: Any = numba.config
        workers = max(1, min(workers, config.NUMBA_NUM_THREADS))
        # We choose the order, but without a seed ffcv draws from numpy's global generator.
        return Loader(str(path), batch_size, num_workers=workers, os_cache=True, seed=0, drop_last=False)


def start_stream(loader: Any, indices: npt.NDArray[np.int64]) -> Generator[Tensor, None, None]:
    """Start ffcv's thread on `indices` and yield its batches of images; the thread ends with this generator."""
    threads = torch.get_num_threads()
    loader.traversal_order = _GivenOrder(indices)
    loader.first_traversal_order = indices  # ffcv takes an epoch's length from here
    with _torch_threads_kept():
        batches = iter(loader)
    try:
        # A failure to compile ends ffcv's thread before its first batch, and ffcv would wait forever.
        while batches.output_queue.empty():
            if not batches.is_alive() and batches.output_queue.empty():
                raise LmcError(f"{loader.fname}: ffcv's loading thread failed; use `loader: resident`")
            time.sleep(0.001)
        for images, _ in batches:
            _restore_torch_threads(threads)
            yield images
    finally:
        batches.close()
        batches.join()
