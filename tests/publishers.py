"""Small files in exactly the formats of the publishers of MNIST, CIFAR and Tiny ImageNet."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from lmc_repro.config.catalog import RemoteFile


def gzipped_idx(array: np.ndarray) -> bytes:
    """A file of MNIST: gzipped IDX of unsigned bytes."""
    header = bytes((0, 0, 8, array.ndim)) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def text(value: str | bytes) -> bytes:
    """A str of Python 2, pickled."""
    content = value.encode() if isinstance(value, str) else value
    short = len(content) < 256
    return (b"U" + bytes([len(content)]) if short else b"T" + struct.pack("<i", len(content))) + content


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: list[int]) -> bytes:
    return b"](" + b"".join(map(number, values)) + b"e"


def array(values: np.ndarray) -> bytes:
    """A two-dimensional array as numpy of Python 2 pickles it."""
    code = values.dtype.str[1:]
    shape = number(values.shape[0]) + number(values.shape[1]) + b"\x86"
    kind = b"cnumpy\ndtype\n" + text(code) + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text("b") + b"\x87R"
    return made + b"(" + number(1) + shape + kind + b"\x89" + text(values.tobytes()) + b"tb"


def python2_dict(items: dict[str, bytes]) -> bytes:
    """A dict of Python 2 from str to values that are pickled already, protocol 2."""
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


def cifar_batch(images: np.ndarray, labels: list[int], coarse: list[int] | None = None) -> bytes:
    """A batch file of CIFAR-10, or of CIFAR-100 where there are coarse labels: images uint8 [n, 3, H, W]."""
    rows = images.reshape(len(images), -1)
    names = b"](" + b"".join(text(f"image_{i}.png") for i in range(len(rows))) + b"e"
    items = {"batch_label": text("training batch 1 of 5"), "data": array(rows), "filenames": names}
    if coarse is None:
        return python2_dict({**items, "labels": numbers(labels)})
    return python2_dict({**items, "coarse_labels": numbers(coarse), "fine_labels": numbers(labels)})


def recorded(path: Path, md5: bool = False, urls: tuple[str, ...] = ()) -> RemoteFile:
    """The catalog's record of a file as it is."""
    content = path.read_bytes()
    if md5:
        return RemoteFile(path.name, hashlib.md5(content).hexdigest(), urls=urls)
    return RemoteFile(path.name, hashlib.sha256(content).hexdigest(), len(content), urls)


def tar_gz(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if content else None)
    return path


def jpeg(colour: int | tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> bytes:
    """A JPEG of one colour; a grey one where the colour is a number."""
    out = io.BytesIO()
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def tiny_imagenet(root: Path) -> Path:
    """tiny-imagenet-200 with 3 classes of 2 train images, and 4 val images; returns its folder.

    Class n01 is red, n02 green, n03 blue; brightness 100 and 200 in train, 150 in val. wnids.txt is not sorted, as the
    publisher's is not; the second train image of n02 and the last of val are grey.
    """
    folder = root / "tiny-imagenet-200"
    wnids = ("n03", "n01", "n02")
    channel = {"n01": 0, "n02": 1, "n03": 2}
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(wnids))
    (folder / "words.txt").write_text("n01\ta word\n")

    def colour(wnid: str, brightness: int) -> tuple[int, int, int]:
        values = [0, 0, 0]
        values[channel[wnid]] = brightness
        return values[0], values[1], values[2]

    for wnid in wnids:
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
        for i, brightness in enumerate((100, 200)):
            grey = wnid == "n02" and i == 1
            (images / f"{wnid}_{i}.JPEG").write_bytes(jpeg(brightness if grey else colour(wnid, brightness)))
    val = folder / "val" / "images"
    val.mkdir(parents=True)
    lines = []
    for i, wnid in enumerate(("n02", "n03", "n01", "n03")):
        (val / f"val_{i}.JPEG").write_bytes(jpeg(150 if i == 3 else colour(wnid, 150)))
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "test" / "images" / "test_0.JPEG").write_bytes(jpeg(1))
    return folder
