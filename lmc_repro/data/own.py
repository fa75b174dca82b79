"""Readers of a user's own data: a folder of images, or an .npz of arrays (docs/extending.md)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.dataset import Split, check_split
from lmc_repro.data.fetch import Progress
from lmc_repro.data.images import SUFFIXES, Folder, read_images
from lmc_repro.errors import LmcError


def read_image_folder(info: DatasetInfo, place: Path, on_progress: Progress | None = None) -> tuple[Split, Split]:
    """Read train/<class>/*.png|jpg and test/<class>/..., or val where there is no test.

    A label is the rank of the class's name among the sorted names; images come in order of class and name. LmcError,
    naming the folder or file, for fewer than two classes, classes that differ between the splits, a number of classes
    or images that is not the catalog's, an image that is corrupt or of other size.
    """
    tree = Folder(place)
    halves = ("train", "test" if (place / "test").is_dir() else "val")
    found = [[name for name in tree.names(half) if (place / half / name).is_dir()] for half in halves]
    for half, classes in zip(halves, found, strict=True):
        if len(classes) < 2:
            raise LmcError(f"{place / half}: {len(classes)} classes; make a folder for each class, two at least")
    if odd := sorted(set(found[0]) ^ set(found[1])):
        raise LmcError(f"{place}: class {odd[0]!r} is in one of {' and '.join(halves)} only; make its folder in both")
    if len(found[0]) != info.classes:
        raise LmcError(f"{place}: {len(found[0])} classes, expected {info.classes}; mend `classes` in the catalog")
    splits = []
    for half, key, n in zip(halves, ("n_train", "n_test"), (info.n_train, info.n_test), strict=True):
        paths, labels = [], []
        for label, name in enumerate(found[0]):
            images = [image for image in tree.names(f"{half}/{name}") if image.lower().endswith(SUFFIXES)]
            if not images:
                raise LmcError(f"{place / half / name}: no image ({', '.join(SUFFIXES)}); put some there")
            paths += [f"{half}/{name}/{image}" for image in images]
            labels += [label] * len(images)
        if len(paths) != n:
            raise LmcError(f"{place / half}: {len(paths)} images, expected {n}; mend `{key}` in the catalog")
        decoded = read_images(tree, paths, info, on_progress, f"decoding {info.title}, {half}")
        splits.append(Split(decoded, torch.tensor(labels, dtype=torch.int64)))
        check_split(splits[-1], n, info, str(place / half))
    return splits[0], splits[1]


def read_npz(info: DatasetInfo, place: Path) -> tuple[Split, Split]:
    """Read x_train, y_train, x_test and y_test: images uint8 [n, H, W] or [n, H, W, C], labels whole numbers [n].

    Nothing pickled is read. LmcError, naming file and array, for a missing one, another type, shape or number.
    """
    splits = []
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # numpy leaves a bad file open
            for half, n in (("train", info.n_train), ("test", info.n_test)):
                splits.append(_npz_split(info, arrays, half, n, place))
    except LmcError:
        raise
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        found = " ".join(str(error).split())
        told = f"not an .npz of plain arrays x_train, y_train, x_test, y_test ({found}); use numpy.savez"
        raise LmcError(f"{place}: {told}") from None
    return splits[0], splits[1]


def _npz_split(info: DatasetInfo, arrays: np.lib.npyio.NpzFile, half: str, n: int, place: Path) -> Split:
    images, labels = arrays[f"x_{half}"], arrays[f"y_{half}"]
    channels, height, width = info.shape
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise LmcError(f"{place}: x_{half} is {images.dtype} {list(images.shape)}; make it uint8 [n, H, W, C]")
    images = images[..., None] if images.ndim == 3 else images
    if images.shape != (n, height, width, channels):
        found, expected = list(images.shape), [n, height, width, channels]
        raise LmcError(f"{place}: x_{half} is {found}, expected {expected}; mend it or the catalog's entry")
    if labels.dtype.kind not in "iu" or labels.shape not in ((n,), (n, 1)):
        raise LmcError(f"{place}: y_{half} is {labels.dtype} {list(labels.shape)}; make it whole numbers [{n}]")
    split = Split(
        torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
        torch.from_numpy(labels.reshape(-1).astype(np.int64)),
    )
    check_split(split, n, info, f"{place}, {half}")
    return split
