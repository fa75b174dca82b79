"""Data that the catalog does not list: an .npz or a folder of images, described by what is in it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lmc_repro.data.catalog import DatasetInfo, Format
from lmc_repro.data.dataset import Dataset, Split, data_digest, normalise
from lmc_repro.data.fetch import Progress
from lmc_repro.data.images import SUFFIXES, Folder
from lmc_repro.data.own import read_image_folder
from lmc_repro.errors import LmcError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Samples:
    """Both splits of a data set. With `info`, images are uint8 and normalised by it; without, float32 [n, ...] as is.

    `digest` is that of the arrays, see `data_digest`.
    """

    name: str
    train: Split
    test: Split
    classes: int
    info: DatasetInfo | None
    digest: str


@dataclass(frozen=True)
class Batches:
    """A loader: (inputs float32 [b, ...], labels int64 [b]) in order, the same each time it is gone through."""

    split: Split
    info: DatasetInfo | None
    size: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.split), self.size):
            inputs = self.split.images[start : start + self.size]
            labels = self.split.labels[start : start + self.size]
            yield (inputs if self.info is None else normalise(inputs, self.info)), labels


def of_dataset(dataset: Dataset) -> Samples:
    """Return a data set of the catalog as samples."""
    info = dataset.info
    return Samples(info.name, dataset.train, dataset.test, info.classes, info, dataset.digest)


def read_unlisted(place: Path, on_progress: Progress | None = None) -> Samples:
    """Read an .npz (x_train, y_train, x_test, y_test) or a folder (train/<class>/, test/<class>/ or val/<class>/).

    Images are uint8 [n, H, W] or [n, H, W, C] and are normalised by the training images' mean and standard deviation
    per channel; floats [n, ...] are taken as they are. LmcError, naming file and array, for what does not fit.
    """
    if place.is_dir():
        info = _folder_info(place)
        train, test = read_image_folder(info, place, on_progress)
        return _normalised(info, train, test)
    train, test = _read_npz(place)
    if train.images.shape[1:] != test.images.shape[1:] or train.images.dtype != test.images.dtype:
        found = " and ".join(f"{half.images.dtype} {list(half.images.shape)}" for half in (train, test))
        raise LmcError(f"{place}: x_train and x_test are {found}; make their samples of one shape and type")
    classes = 1 + max(int(half.labels.max()) for half in (train, test))
    if train.images.dtype != torch.uint8:
        return Samples(place.name, train, test, classes, None, data_digest(train, test))
    channels, height, width = train.images.shape[1:]
    return _normalised(_info(place, "npz", (channels, height, width), classes, len(train), len(test)), train, test)


def _normalised(info: DatasetInfo, train: Split, test: Split) -> Samples:
    """Return samples with the training images' own mean and deviation; a channel of one value is left at 0."""
    values = [train.images[:, channel].double() / info.scale_max for channel in range(info.shape[0])]
    mean = tuple(channel.mean().item() for channel in values)
    std = tuple(channel.std(correction=0).item() or 1.0 for channel in values)
    info = replace(info, mean=mean, std=std)
    return Samples(info.name, train, test, info.classes, info, data_digest(train, test))


def _info(
    place: Path, format: Format, shape: tuple[int, int, int], classes: int, n_train: int, n_test: int
) -> DatasetInfo:
    return DatasetInfo(
        name=place.name,
        title=place.name,
        shape=shape,
        classes=classes,
        n_train=n_train,
        n_test=n_test,
        scale_max=255,
        mean=(0.0,) * shape[0],
        std=(1.0,) * shape[0],
        source=str(place),
        split="its own",
        normalisation="mean and standard deviation of the training images",
        format=format,
        folder=place.name,
    )


def _folder_info(place: Path) -> DatasetInfo:
    """Return what a folder of images holds: the classes of train/, how many images, and the size of the first."""
    tree = Folder(place)
    halves = ["train", "test" if (place / "test").is_dir() else "val"]
    classes = [name for name in tree.names("train") if (place / "train" / name).is_dir()]
    images = {
        half: [f"{half}/{name}/{image}" for name in classes for image in tree.names(f"{half}/{name}")
               if image.lower().endswith(SUFFIXES)]
        for half in halves
    }  # fmt: skip
    if not images["train"]:
        raise LmcError(f"{place}: no images in train/<class>/; put them there, and those to test on in test/<class>/")
    first = images["train"][0]
    try:
        with Image.open(io.BytesIO(tree.read(first)), formats=("JPEG", "PNG")) as image:
            (width, height), grey = image.size, image.mode in ("1", "L", "LA")
    except (OSError, Image.DecompressionBombError) as error:
        raise LmcError(f"{tree.where(first)}: cannot be decoded ({' '.join(str(error).split())}); replace it") from None
    shape = (1 if grey else 3, height, width)
    return _info(place, "image-folder", shape, len(classes), *(len(images[half]) for half in halves))


def _read_npz(place: Path) -> tuple[Split, Split]:
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        told = " ".join(str(error).split())
        raise LmcError(f"{place}: not an .npz of plain arrays {', '.join(ARRAYS)} ({told}); use numpy.savez") from None
    return _npz_split(place, found, "train"), _npz_split(place, found, "test")


def _npz_split(place: Path, arrays: dict[str, np.ndarray], half: str) -> Split:
    """Return one split, checked: images as uint8 [n, C, H, W], or inputs as float32 [n, ...]."""
    inputs, labels = arrays[f"x_{half}"], arrays[f"y_{half}"]
    n = len(inputs) if inputs.ndim else 0
    images = inputs.dtype == np.uint8
    if n == 0 or (inputs.ndim not in (3, 4) if images else inputs.dtype.kind != "f" or inputs.ndim < 2):
        found = f"{inputs.dtype} {list(inputs.shape)}"
        raise LmcError(f"{place}: x_{half} is {found}; make it images uint8 [n, H, W, C], or inputs float32 [n, ...]")
    if labels.dtype.kind not in "iu" or labels.shape not in ((n,), (n, 1)) or labels.min() < 0:
        found = f"{labels.dtype} {list(labels.shape)}"
        raise LmcError(f"{place}: y_{half} is {found}; make it whole numbers from 0, [{n}]")
    if images:
        inputs = (inputs[..., None] if inputs.ndim == 3 else inputs).transpose(0, 3, 1, 2)
    tensor = torch.from_numpy(np.ascontiguousarray(inputs, np.uint8 if images else np.float32))
    return Split(tensor, torch.from_numpy(labels.reshape(-1).astype(np.int64)))
