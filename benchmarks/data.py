"""MNIST, or random images of its shape where its files are not at hand."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.data_files import find_files
from lmc_repro.config.catalog import dataset_info
from lmc_repro.data.dataset import Dataset, Split
from lmc_repro.data.readers import read_arrays

QUICK = 200


def mnist(n_train: int | None = None, n_test: int | None = None, quick: bool = False) -> Dataset:
    """Return the first images of each split; `quick`: a few random ones. From LMC_DATA_MIRROR or data/raw."""
    info = dataset_info("mnist")
    if quick:
        n_train, n_test = QUICK, QUICK
    place = None if quick else find_files()
    if place is not None:
        train, test = read_arrays(info, place)
    else:
        train, test = (random_split(n, seed) for seed, n in enumerate((n_train or info.n_train, n_test or info.n_test)))
    train, test = (Split(s.images[:n], s.labels[:n]) for s, n in ((train, n_train), (test, n_test)))
    # No digest: nothing here is looked up by it.
    return Dataset(replace(info, n_train=len(train), n_test=len(test)), train, test, "")


def random_split(n: int, seed: int) -> Split:
    """Return noise of MNIST's shape."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, 10, (n,), generator=generator))
