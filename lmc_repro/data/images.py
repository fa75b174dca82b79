"""Decode PNG and JPEG files of a folder or a zip into one array."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.fetch import Progress
from lmc_repro.errors import LmcError

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")  # eight bits a channel or fewer
REPORT_EVERY = 500  # images
FIX = "replace it, or unpack the archive again"


class Tree(Protocol):
    """Files below a root, by their path with slashes."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder without hidden ones; empty if there is no such folder."""
        ...

    def read(self, path: str) -> bytes:
        """Return the content of a file; LmcError, naming it, if it is missing or cannot be read."""
        ...

    def where(self, path: str) -> str:
        """Return how to name a file in a message."""
        ...


class Folder:
    """A `Tree` on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """See `Tree.names`."""
        path = self._root / folder
        return sorted(p.name for p in path.iterdir() if not p.name.startswith(".")) if path.is_dir() else []

    def read(self, path: str) -> bytes:
        """See `Tree.read`."""
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise LmcError(f"{self.where(path)}: cannot be read ({error.strerror}); {FIX}") from None

    def where(self, path: str) -> str:
        """See `Tree.where`."""
        return str(self._root / path)


class Zip:
    """A `Tree` below the folder `inside` of a zip, which is read in place: nothing is unpacked to the disk."""

    def __init__(self, archive: Path, inside: str) -> None:
        self._archive, self._inside = archive, inside
        try:
            self._zip = zipfile.ZipFile(archive)
        except (zipfile.BadZipFile, OSError) as error:
            raise LmcError(f"{archive}: truncated or no zip ({error}); delete it and get it again") from None
        self._folders: dict[str, set[str]] = {}
        for entry in self._zip.namelist():
            path = PurePosixPath(entry)
            for child, parent in zip((path, *path.parents), path.parents, strict=False):
                self._folders.setdefault(str(parent), set()).add(child.name)

    def names(self, folder: str) -> list[str]:
        """See `Tree.names`."""
        names = self._folders.get(str(PurePosixPath(self._inside) / folder), set())
        return sorted(name for name in names if not name.startswith("."))

    def read(self, path: str) -> bytes:
        """See `Tree.read`."""
        try:
            return self._zip.read(f"{self._inside}/{path}")
        except Exception as error:  # zipfile raises a dozen kinds for damage
            found = " ".join(str(error).split())
            raise LmcError(f"{self.where(path)}: cannot be read ({found}); {FIX}") from None

    def where(self, path: str) -> str:
        """See `Tree.where`."""
        return f"{self._archive}: {self._inside}/{path}"


def read_images(tree: Tree, paths: Sequence[str], info: DatasetInfo, on_progress: Progress | None, what: str) -> Tensor:
    """Return the images of `paths` as uint8 [n, C, H, W] in their order, told as `what` in steps of some hundred.

    Grey images become three equal channels where the data set has three, colour becomes grey where it has one (ITU-R
    601), transparency is dropped. LmcError, naming the file, if one cannot be decoded or has another size.
    """
    images = np.empty((len(paths), *info.shape), np.uint8)
    for i, path in enumerate(paths):
        images[i] = _decode(tree.read(path), info.shape, tree.where(path))
        if on_progress and ((i + 1) % REPORT_EVERY == 0 or i + 1 == len(paths)):
            on_progress(what, i + 1, len(paths))
    return torch.from_numpy(images)


def _decode(content: bytes, shape: tuple[int, int, int], where: str) -> np.ndarray:
    channels, height, width = shape
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            size, mode = image.size, image.mode
            # Before it is decoded: a file of other size may be huge.
            fits = size == (width, height) and mode in MODES
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB")) if fits else None
    except Exception as error:  # a corrupt file can raise anything, and does
        found = "no PNG or JPEG" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise LmcError(f"{where}: cannot be decoded ({found}); {FIX}") from None
    if pixels is None:
        found = f"{size[0]} x {size[1]} pixels of kind {mode}"
        raise LmcError(f"{where}: {found}, expected {width} x {height} of 8 bits a channel; {FIX}")
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
