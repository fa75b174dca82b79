"""Readers of the publishers' formats: arrays of both splits from files or an installed package."""

from __future__ import annotations

import gzip
import io
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo, RemoteFile
from lmc_repro.data.acquire import AGAIN, Progress, check
from lmc_repro.data.custom_dataset import read_listed
from lmc_repro.data.dataset import Split, check_split
from lmc_repro.data.images import Tree, read_images

Arrays = tuple[Split, Split]
UNPACK = "unpack the publisher's archive again"


def read_arrays(info: DatasetInfo, place: Path, on_progress: Progress | None = None) -> Arrays:
    """Return (train, test) of a data set that `fetch` found at `place`; LmcError if it is not as the catalog says."""
    train, test = READERS[info.format](info, place, on_progress)
    where, fix = "" if info.embedded else f"{place}: ", "correct it, or its entry in the catalog"
    check_split(train, info.n_train, info, f"{where}{info.title}, train", fix)
    check_split(test, info.n_test, info, f"{where}{info.title}, test", fix)
    return train, test


def read_idx_files(info: DatasetInfo, folder: Path, on_progress: Progress | None = None) -> Arrays:
    """Read MNIST's four gzipped IDX files: train images, train labels, test images, test labels."""
    arrays = [_decoded(folder / file.name, file, _idx) for file in info.files]
    return _split(arrays[0][:, None], arrays[1]), _split(arrays[2][:, None], arrays[3])


def _split(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> Split:
    return Split(torch.tensor(images), torch.from_numpy(labels.astype(np.int64)))


def _idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the array of a gzipped IDX file: zero, zero, 8 for unsigned bytes, the number of axes, their sizes."""
    content = gzip.decompress(content)
    if content[:3] != b"\0\0\x08":
        raise ValueError("not IDX of unsigned bytes")
    shape = np.frombuffer(content, ">u4", content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def read_cifar(info: DatasetInfo, folder: Path, on_progress: Progress | None = None) -> Arrays:
    """Read CIFAR's pickled batches of rows, red, green and blue planes: the last file is the test split.

    Of CIFAR-100's two labels, the fine ones.
    """
    decode = partial(_cifar_batch, info.shape)
    *train, test = (_decoded(folder / file.name, file, decode) for file in info.files)
    images, labels = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
    return _split(images, labels), _split(*test)


def _cifar_batch(shape: tuple[int, int, int], content: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of how Python 2 pickled a dtype
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    labels = batch[b"labels" if b"labels" in batch else b"fine_labels"]
    return batch[b"data"].reshape(-1, *shape), np.array(labels, np.int64)


class _Unpickler(pickle.Unpickler):
    """Loads plain values and numpy's arrays: no other name is looked up, so a pickle can call nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"asks for {module}.{name}")


def _decoded(path: Path, file: RemoteFile, decode: Callable[[bytes], Any]) -> Any:
    """Check a file's checksum, then return its decoded content."""
    try:
        check(path, file, AGAIN)
        return decode(path.read_bytes())
    except LmcError:
        raise
    except Exception as error:  # a damaged file can raise any exception
        found = " ".join(str(error).split()) or type(error).__name__
        raise LmcError(f"{path}: cannot be decoded ({found}); {AGAIN}") from None


def read_tiny_imagenet(info: DatasetInfo, place: Path, on_progress: Progress | None = None) -> Arrays:
    """Read train, and val as test, from the unpacked folder or the zip; a label is the rank of its wnid.

    Train is in order of wnid and file name, val in that of val_annotations.txt. LmcError, naming the file, for a
    missing class, another number of images, a label that is no class, an image that is corrupt or of another size.
    """
    tree, annotations = Tree(place, info.folder), "val/val_annotations.txt"
    wnids = {wnid: rank for rank, wnid in enumerate(sorted({row[0] for row in _rows(tree, "wnids.txt", 1)}))}
    if len(wnids) != info.classes:
        raise LmcError(f"{tree.where('wnids.txt')}: {len(wnids)} classes, expected {info.classes}; {UNPACK}")
    images, each = tree.classes("train", ["images"]), info.n_train // info.classes
    for wnid in wnids:
        if (n := len(images.get(wnid, ()))) != each:
            raise LmcError(f"{tree.where(f'train/{wnid}/images')}: {n} images, expected {each}; {UNPACK}")
    train = [(path, wnid) for wnid in wnids for path in images[wnid]]
    test = [(f"val/images/{row[0]}", row[1]) for row in _rows(tree, annotations, 2)]
    if len(test) != info.n_test or len(dict(test)) != info.n_test:
        raise LmcError(f"{tree.where(annotations)}: lists {len(test)} images, expected {info.n_test}; {UNPACK}")
    if unknown := next((wnid for _, wnid in test if wnid not in wnids), None):
        raise LmcError(f"{tree.where(annotations)}: {unknown!r} is no class of wnids.txt; {UNPACK}")
    splits = []
    for half, files in (("train", train), ("val", test)):
        title = f"decoding {info.title}, {half}"
        pixels = read_images(tree, [path for path, _ in files], info.shape, on_progress, title)
        splits.append(Split(pixels, torch.tensor([wnids[wnid] for _, wnid in files], dtype=torch.int64)))
    return splits[0], splits[1]


def _rows(tree: Tree, path: str, columns: int) -> list[list[str]]:
    """Return the lines of a text file that are not empty, split at tabs into `columns` or more."""
    try:
        lines = tree.read(path).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise LmcError(f"{tree.where(path)}: is no text; {UNPACK}") from None
    rows = [line.strip().split("\t") for line in lines if line.strip()]
    if bad := next((number for number, row in enumerate(rows, 1) if len(row) < columns), None):
        raise LmcError(f"{tree.where(path)}, line {bad}: expected {columns} columns, separated by tabs; {UNPACK}")
    return rows


def read_digits(info: DatasetInfo, folder: Path, on_progress: Progress | None = None) -> Arrays:
    """Split scikit-learn's digits in two random halves, stratified by class; see `stratified_half`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, in_train = bunch.images.astype(np.uint8)[:, None], stratified_half(bunch.target, seed=0)
    return _split(images[in_train], bunch.target[in_train]), _split(images[~in_train], bunch.target[~in_train])


def stratified_half(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.bool_]:
    """Return a bool mask [n]: True for every other image after sorting by class, and within a class by random words.

    Each class is halved to within one image, and the whole as well (the first half is the larger one). The words are
    raw Philox output, which numpy keeps the same between versions.
    """
    words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(len(labels))
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.lexsort((words, labels))[0::2]] = True
    return chosen


READERS: dict[str, Callable[[DatasetInfo, Path, Progress | None], Arrays]] = {
    "sklearn-digits": read_digits,
    "idx": read_idx_files,
    "cifar": read_cifar,
    "tiny-imagenet": read_tiny_imagenet,
    "image-folder": read_listed,
    "npz": read_listed,
}
