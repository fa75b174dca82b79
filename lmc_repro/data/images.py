"""PNG and JPEG files of a folder or a zip, decoded into one array."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.data.acquire import Progress

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")  # eight bits per channel or fewer
REPORT_EVERY = 500  # images
FIX = "replace it, or unpack the archive again"


class Tree:
    """The files of a folder, or of the folder `inside` in a zip, which is read in place; hidden ones left out.

    `files` are their paths below it, with slashes, in order of folder and name.
    """

    def __init__(self, place: Path, inside: str = "") -> None:
        self._place, self._zip, self._inside = place, None, ""
        if place.is_dir():
            found = list(_files_below(place))
        else:
            try:
                self._zip, self._inside = zipfile.ZipFile(place), f"{inside}/"
            except (zipfile.BadZipFile, OSError) as error:
                raise LmcError(f"{place}: truncated or no zip ({error}); delete it and get it again") from None
            names = [name for name in self._zip.namelist() if name.startswith(self._inside)]
            found = [name.removeprefix(self._inside).split("/") for name in names]
        self.files = ["/".join(parts) for parts in sorted(found) if not any(part[:1] in ("", ".") for part in parts)]
        self._known = set(self.files)

    def where(self, path: str) -> str:
        """Return the name of a file or folder of the tree, for errors."""
        return f"{self._place}: {self._inside}{path}" if self._zip else str(self._place / path)

    def read(self, path: str) -> bytes:
        """Return the content of a file; LmcError, naming it, if it is missing or cannot be read."""
        try:
            if path not in self._known:
                raise FileNotFoundError("No such file")
            return self._zip.read(self._inside + path) if self._zip else (self._place / path).read_bytes()
        except Exception as error:  # zipfile raises a dozen kinds for damage
            found = " ".join(str(error).split())
            raise LmcError(f"{self.where(path)}: cannot be read ({found}); {FIX}") from None

    def classes(self, half: str, inner: Sequence[str] = ()) -> dict[str, list[str]]:
        """Return the paths of the image files half/<class>/[inner/]<name> by class, classes and names in order."""
        found: dict[str, list[str]] = {}
        for path in self.files:
            parts = path.split("/")
            if parts[0] == half and len(parts) > 2 and parts[2:-1] == [*inner] and path.lower().endswith(SUFFIXES):
                found.setdefault(parts[1], []).append(path)
        return found


def _files_below(folder: Path) -> Iterator[list[str]]:
    """Yield the path of each file as its parts."""
    for root, _, names in os.walk(folder, followlinks=True):
        parts = Path(root).relative_to(folder).parts
        yield from ([*parts, name] for name in names)


def read_images(
    tree: Tree, paths: Sequence[str], shape: tuple[int, int, int], on_progress: Progress | None, title: str
) -> Tensor:
    """Return the images of `paths` as uint8 [n, C, H, W] in their order; progress comes every 500 images as `title`.

    Grey images become three equal channels where `shape` (C, H, W) has three, colour becomes grey where it has one
    (ITU-R 601), transparency is dropped. LmcError, naming the file, if one cannot be decoded or has another size.
    """
    images = np.empty((len(paths), *shape), np.uint8)
    for i, path in enumerate(paths, 1):
        images[i - 1] = _decode(tree, path, shape)
        if on_progress and (i % REPORT_EVERY == 0 or i == len(paths)):
            on_progress(title, i, len(paths))
    return torch.from_numpy(images)


def image_shape(tree: Tree, path: str) -> tuple[int, int, int]:
    """Return (channels, height, width) of an image file: one channel if it is grey, else three."""
    with _opened(tree, path) as image:
        return 1 if image.mode in ("1", "L", "LA") else 3, image.height, image.width


def _decode(tree: Tree, path: str, shape: tuple[int, int, int]) -> np.ndarray:
    channels, height, width = shape
    with _opened(tree, path) as image:
        if image.size != (width, height) or image.mode not in MODES:  # before it is decoded: it may be huge
            found = f"{image.width} x {image.height} pixels of kind {image.mode}"
            raise LmcError(f"{tree.where(path)}: {found}, expected {width} x {height} of 8 bits per channel; {FIX}")
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


@contextmanager
def _opened(tree: Tree, path: str) -> Iterator[Image.Image]:
    """Open an image file; LmcError, naming it, for what cannot be decoded."""
    content = tree.read(path)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            yield image
    except LmcError:
        raise
    except Exception as error:  # a corrupt file can raise any exception
        found = "no PNG or JPEG" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise LmcError(f"{tree.where(path)}: cannot be decoded ({found}); {FIX}") from None
