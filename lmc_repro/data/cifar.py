"""Reader of CIFAR-10's and CIFAR-100's python version: pickled batches of rows, red, green and blue planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.dataset import Split, check_split
from lmc_repro.data.safe_pickle import load_pickle
from lmc_repro.errors import LmcError

LABELS = (b"labels", b"fine_labels")  # of CIFAR-10; of CIFAR-100, which has coarse ones beside


def read_cifar(info: DatasetInfo, folder: Path) -> tuple[Split, Split]:
    """Read the files of `info`: the last one is the test split, those before it are the train split in order."""
    batches = [_read_batch(folder / file.name, info) for file in info.files]
    splits = []
    for part, n, name in ((batches[:-1], info.n_train, info.files[0].name), (batches[-1:], info.n_test, "")):
        images = np.concatenate([images for images, _ in part]).reshape(-1, *info.shape)
        labels = np.concatenate([labels for _, labels in part])
        split = Split(torch.from_numpy(images), torch.from_numpy(labels))
        check_split(split, n, info, str(folder / (name or info.files[-1].name)))
        splits.append(split)
    return splits[0], splits[1]


def _read_batch(path: Path, info: DatasetInfo) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return images uint8 [n, C*H*W] and labels int64 [n] of one file."""
    batch = load_pickle(path)
    images = batch.get(b"data")
    labels = next((batch[key] for key in LABELS if key in batch), None)
    fix = "delete it and get it again"
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != info.features:
        found = list(images.shape) if isinstance(images, np.ndarray) else type(images).__name__
        raise LmcError(f"{path}: data is {found}, expected rows of {info.features} bytes; {fix}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels) or len(labels) != len(images):
        raise LmcError(f"{path}: labels are no list of {len(images)} whole numbers, one an image; {fix}")
    return images, np.array(labels, np.int64)
