"""Reader of tiny-imagenet-200: JPEGs in a folder for each class, and a list of labels for the validation split."""

from __future__ import annotations

from pathlib import Path

import torch

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.dataset import Split, check_split
from lmc_repro.data.fetch import Progress
from lmc_repro.data.images import SUFFIXES, Folder, Tree, Zip, read_images
from lmc_repro.errors import LmcError

FIX = "unpack the publisher's archive again"


def read_tiny_imagenet(info: DatasetInfo, place: Path, on_progress: Progress | None = None) -> tuple[Split, Split]:
    """Read train, and val as test, from the unpacked folder or the zip; a label is the rank of its wnid.

    Train is in order of wnid and file name, val in that of val_annotations.txt. LmcError, naming the file, for a
    missing class, another number of images, a label that is no class, an image that is corrupt or of other size.
    """
    tree = Folder(place) if place.is_dir() else Zip(place, info.folder)
    wnids = sorted(set(_lines(tree, "wnids.txt")))
    if len(wnids) != info.classes:
        raise LmcError(f"{tree.where('wnids.txt')}: {len(wnids)} classes, expected {info.classes}; {FIX}")
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    train = _train_files(tree, wnids, info)
    test = _val_files(tree, labels, info)
    splits = []
    for name, files in (("train", train), ("val", test)):
        images = read_images(tree, [path for path, _ in files], info, on_progress, f"decoding {info.title}, {name}")
        split = Split(images, torch.tensor([labels[wnid] for _, wnid in files], dtype=torch.int64))
        check_split(split, len(files), info, tree.where(name))
        splits.append(split)
    return splits[0], splits[1]


def _train_files(tree: Tree, wnids: list[str], info: DatasetInfo) -> list[tuple[str, str]]:
    """Return (path, wnid) of every train image."""
    each = info.n_train // info.classes
    files = []
    for wnid in wnids:
        folder = f"train/{wnid}/images"
        names = [name for name in tree.names(folder) if name.lower().endswith(SUFFIXES)]
        if len(names) != each:
            raise LmcError(f"{tree.where(folder)}: {len(names)} images, expected {each}; {FIX}")
        files += [(f"{folder}/{name}", wnid) for name in names]
    return files


def _val_files(tree: Tree, labels: dict[str, int], info: DatasetInfo) -> list[tuple[str, str]]:
    """Return (path, wnid) of every line of val_annotations.txt, which also holds a box that is not used."""
    annotations = "val/val_annotations.txt"
    files = [(f"val/images/{name}", wnid) for name, wnid, *_ in _rows(tree, annotations)]
    if len({path for path, _ in files}) != info.n_test or len(files) != info.n_test:
        raise LmcError(f"{tree.where(annotations)}: lists {len(files)} images, expected {info.n_test}; {FIX}")
    if unknown := next((wnid for _, wnid in files if wnid not in labels), None):
        raise LmcError(f"{tree.where(annotations)}: {unknown!r} is no class of wnids.txt; {FIX}")
    return files


def _rows(tree: Tree, path: str) -> list[list[str]]:
    rows = [line.split("\t") for line in _lines(tree, path)]
    if bad := next((number for number, row in enumerate(rows, 1) if len(row) < 2), None):
        raise LmcError(f"{tree.where(path)}, line {bad}: no file name and class, parted by a tab; {FIX}")
    return rows


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        return [line.strip() for line in tree.read(path).decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise LmcError(f"{tree.where(path)}: is no text; {FIX}") from None
