"""A split as an FFCV file: lossless, and the same bytes every time."""

from __future__ import annotations

import contextlib
import math
import queue
from multiprocessing import Value
from pathlib import Path

import numpy as np
import torch

from lmc_repro.data.dataset import Split
from lmc_repro.data.threads import import_ffcv


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
    and the writer waits for ever where a worker dies, of a full disk for example.
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
        with contextlib.suppress(BufferError):  # an error on its way out still holds the view
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
