"""From the publishers' files, or an installed package, to the arrays of both splits: one reader a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.cifar import read_cifar
from lmc_repro.data.dataset import Split, check_split
from lmc_repro.data.fetch import Progress
from lmc_repro.data.idx import read_idx
from lmc_repro.data.own import read_image_folder, read_npz
from lmc_repro.data.tiny_imagenet import read_tiny_imagenet
from lmc_repro.errors import LmcError

Arrays = tuple[Split, Split]


def read_arrays(info: DatasetInfo, place: Path, on_progress: Progress | None = None) -> Arrays:
    """Return (train, test) of a data set that `fetch` found at `place`; LmcError if it is not as the catalog says."""
    if info.format in WITH_PROGRESS:
        return WITH_PROGRESS[info.format](info, place, on_progress)
    return READERS[info.format](info, place)


def read_idx_files(info: DatasetInfo, folder: Path) -> Arrays:
    """Read four IDX files: train images, train labels, test images, test labels."""
    splits = []
    paths = [folder / file.name for file in info.files]
    for (image_path, label_path), n in zip((paths[:2], paths[2:]), (info.n_train, info.n_test), strict=True):
        images = torch.from_numpy(read_idx(image_path, 3).copy()).unsqueeze(1)
        labels = torch.from_numpy(read_idx(label_path, 1).astype(np.int64))
        if len(images) != len(labels):
            found = f"{len(images)} images, but {len(labels)} labels in {label_path.name}"
            raise LmcError(f"{image_path}: {found}; get both files again")
        split = Split(images, labels)
        check_split(split, n, info, str(image_path))
        splits.append(split)
    return splits[0], splits[1]


def read_digits(info: DatasetInfo, folder: Path) -> Arrays:
    """Split scikit-learn's digits in two random halves, stratified by class; see `stratified_half`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    in_train = stratified_half(labels, seed=0)
    splits = [
        Split(torch.from_numpy(images[half].copy()), torch.from_numpy(labels[half].copy()))
        for half in (in_train, ~in_train)
    ]
    check_split(splits[0], info.n_train, info, "sklearn.datasets.load_digits")
    check_split(splits[1], info.n_test, info, "sklearn.datasets.load_digits")
    return splits[0], splits[1]


def stratified_half(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a bool mask [n]: True for every other image after sorting by class, and within a class by random words.

    Each class is halved to within one image, and the whole as well (the first half is the larger one). The words are
    raw Philox output, which numpy keeps the same between versions.
    """
    words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(len(labels))
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.lexsort((words, labels))[0::2]] = True
    return chosen


READERS: dict[str, Callable[[DatasetInfo, Path], Arrays]] = {
    "sklearn-digits": read_digits,
    "idx": read_idx_files,
    "cifar": read_cifar,
    "npz": read_npz,
}
WITH_PROGRESS: dict[str, Callable[[DatasetInfo, Path, Progress | None], Arrays]] = {
    "tiny-imagenet": read_tiny_imagenet,
    "image-folder": read_image_folder,
}
