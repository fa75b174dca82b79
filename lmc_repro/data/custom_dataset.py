"""A user's own data (docs/extending.md): an .npz of arrays, or a folder of images in torchvision's ImageFolder layout.

The catalog may list it, or it may be described by its content alone, as for `lmc barrier --data`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.data.acquire import Progress
from lmc_repro.data.dataset import Dataset, Split, data_digest, normalise
from lmc_repro.data.images import SUFFIXES, Tree, image_shape, read_images

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
    """Return the data set in an .npz or a folder of images, see `read_npz` and `read_image_folder`.

    Images are normalised by the training images' mean and standard deviation per channel (a channel of one value is
    left at 0); floats are taken as they are. LmcError, naming file and array, for what does not fit.
    """
    if place.is_dir():
        train, test, classes = read_image_folder(place, None, place.name, on_progress)
    else:
        train, test = read_npz(place)
        classes = 1 + max(int(half.labels.max()) for half in (train, test))
    if train.images.shape[1:] != test.images.shape[1:] or train.images.dtype != test.images.dtype:
        found = " and ".join(f"{half.images.dtype} {list(half.images.shape)}" for half in (train, test))
        raise LmcError(f"{place}: x_train and x_test are {found}; make their samples of one shape and type")
    digest = data_digest(train, test)
    if train.images.dtype != torch.uint8:
        return Samples(place.name, train, test, classes, None, digest)
    channels, height, width = train.images.shape[1:]
    values = [train.images[:, channel].double() / 255 for channel in range(channels)]
    info = DatasetInfo(
        name=place.name,
        title=place.name,
        shape=(channels, height, width),
        classes=classes,
        n_train=len(train),
        n_test=len(test),
        scale_max=255,
        mean=tuple(channel.mean().item() for channel in values),
        std=tuple(channel.std(correction=0).item() or 1.0 for channel in values),
        source=str(place),
        split="its own",
        normalisation="mean and standard deviation of the training images",
        format="image-folder" if place.is_dir() else "npz",
        folder=place.name,
    )
    return Samples(info.name, train, test, classes, info, digest)


def read_listed(info: DatasetInfo, place: Path, on_progress: Progress | None = None) -> tuple[Split, Split]:
    """Return both splits of a data set that the catalog lists with the format `npz` or `image-folder`."""
    if info.format == "npz":
        return read_npz(place)
    train, test, classes = read_image_folder(place, info.shape, info.title, on_progress)
    if classes != info.classes:
        raise LmcError(f"{place}: {classes} classes, expected {info.classes}; correct `classes` in the catalog")
    return train, test


def read_image_folder(
    place: Path, shape: tuple[int, int, int] | None, title: str, on_progress: Progress | None
) -> tuple[Split, Split, int]:
    """Return train/<class>/*.png|jpg, test/<class>/... (or val where there is no test), and the number of classes.

    A label is the rank of the class's name among the sorted names; images come in order of class and name. `shape` is
    (C, H, W), by default that of the first image. LmcError, naming the folder or file, for fewer than two classes, a
    class with images in one split only, or an image that is corrupt or of another size.
    """
    tree = Tree(place)
    halves = ("train", "test" if (place / "test").is_dir() else "val")
    found = [tree.classes(half) for half in halves]
    for half, classes in zip(halves, found, strict=True):
        if len(classes) < 2:
            hint = f"put images ({', '.join(SUFFIXES)}) into a folder for each class, two at least"
            raise LmcError(f"{place / half}: {len(classes)} classes with images; {hint}")
    if odd := sorted(found[0].keys() ^ found[1].keys()):
        raise LmcError(f"{place}: class {odd[0]!r} has images in one of {' and '.join(halves)} only; add them to both")
    shape = shape or image_shape(tree, next(iter(found[0].values()))[0])
    splits = []
    for half, classes in zip(halves, found, strict=True):
        paths = [path for images in classes.values() for path in images]
        labels = [label for label, images in enumerate(classes.values()) for _ in images]
        images = read_images(tree, paths, shape, on_progress, f"decoding {title}, {half}")
        splits.append(Split(images, torch.tensor(labels, dtype=torch.int64)))
    return splits[0], splits[1], len(found[0])


def read_npz(place: Path) -> tuple[Split, Split]:
    """Return the splits in an .npz: x_train, y_train, x_test and y_test; nothing pickled is read.

    Images are uint8 [n, H, W] or [n, H, W, C] and come as [n, C, H, W]; other inputs are floats [n, ...] and come as
    float32. Labels are whole numbers from 0, [n] or [n, 1], of two
    classes or more in y_train. LmcError, naming file and array, for anything else.
    """
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # numpy leaves a bad file open
            found = {name: arrays[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise LmcError(
            f"{place}: not an .npz of plain arrays {', '.join(ARRAYS)} ({reason}); use numpy.savez"
        ) from None
    train, test = _npz_split(place, found, "train"), _npz_split(place, found, "test")
    if (lowest := min(int(half.labels.min()) for half in (train, test))) > 0:
        raise LmcError(f"{place}: labels begin with {lowest}; make them whole numbers from 0: subtract {lowest}")
    if train.largest_class == len(train):
        raise LmcError(f"{place}: y_train holds one class, {int(train.labels[0])}; give samples of two or more")
    return train, test


def _npz_split(place: Path, arrays: Mapping[str, np.ndarray], half: str) -> Split:
    inputs, labels = arrays[f"x_{half}"], arrays[f"y_{half}"]
    n = len(inputs) if inputs.ndim else 0
    images = inputs.dtype == np.uint8
    if n == 0 or (inputs.ndim not in (3, 4) if images else inputs.dtype.kind != "f" or inputs.ndim < 2):
        found = f"{inputs.dtype} {list(inputs.shape)}"
        raise LmcError(f"{place}: x_{half} is {found}; make it images uint8 [n, H, W, C], or inputs float32 [n, ...]")
    if labels.dtype.kind not in "iu" or labels.shape not in ((n,), (n, 1)) or labels.min() < 0:
        found = f"{labels.dtype} {list(labels.shape)}" + (
            f", {labels.min()} at least" if labels.size and labels.dtype.kind in "iuf" else ""
        )
        raise LmcError(f"{place}: y_{half} is {found}; make it whole numbers from 0, [{n}]")
    if images:
        inputs = (inputs[..., None] if inputs.ndim == 3 else inputs).transpose(0, 3, 1, 2)
    with np.errstate(over="ignore"):
        inputs = np.ascontiguousarray(inputs, np.uint8 if images else np.float32)
    if not np.isfinite(inputs).all():
        first = int(np.argwhere(~np.isfinite(inputs))[0, 0])
        raise LmcError(f"{place}: x_{half}: sample {first} has numbers that are not finite in float32; leave it out")
    tensor = torch.from_numpy(inputs)
    return Split(tensor, torch.from_numpy(labels.reshape(-1).astype(np.int64)))
