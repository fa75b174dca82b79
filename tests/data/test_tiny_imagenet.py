from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from publishers import jpeg, recorded, tiny_imagenet

from lmc_repro.data.catalog import CATALOG, DatasetInfo
from lmc_repro.data.dataset import data_digest, load_dataset
from lmc_repro.data.fetch import Unavailable, fetch
from lmc_repro.data.prepare import prepare
from lmc_repro.data.readers import read_arrays
from lmc_repro.errors import LmcError

INFO = replace(CATALOG["tinyimagenet"], classes=3, n_train=6, n_test=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_imagenet(tmp_path / "mirror")


def zipped(folder: Path) -> Path:
    """The publisher's archive beside the folder, with members that lead out of it."""
    path = folder.parent / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil", b"evil")
        archive.writestr("tiny-imagenet-200/train/../../../evil", b"evil")
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def packed(folder: Path) -> DatasetInfo:
    archive = zipped(folder)
    shutil.rmtree(folder)
    return replace(INFO, archive=recorded(archive, urls=((folder / "nowhere").as_uri(),)))


def test_labels_are_ranks_of_wnids_and_grey_becomes_colour(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    raw, prepared = tmp_path / "raw", tmp_path / "prepared"
    prepare("tinyimagenet", prepared, raw, folder.parent, lambda *progress: seen.append(progress), INFO)
    data = load_dataset(prepared, "tinyimagenet", INFO)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [1, 2, 0, 2]
    # One colour an image: its mean is what was drawn, within JPEG's rounding.
    expected = [[100, 0, 0], [200, 0, 0], [0, 100, 0], [200, 200, 200], [0, 0, 100], [0, 0, 200]]
    assert (data.train.images.float().mean((2, 3)) - torch.tensor(expected)).abs().max() < 3
    expected = [[0, 150, 0], [0, 0, 150], [150, 0, 0], [150, 150, 150]]
    assert (data.test.images.float().mean((2, 3)) - torch.tensor(expected)).abs().max() < 3
    assert seen == [("decoding Tiny ImageNet, train", 6, 6), ("decoding Tiny ImageNet, val", 4, 4)]
    assert not raw.exists()  # an unpacked mirror is read where it lies


def test_the_zip_is_read_in_place(folder: Path, tmp_path: Path) -> None:
    digest = data_digest(*read_arrays(INFO, folder))
    info, raw = packed(folder), tmp_path / "below" / "raw"
    assert data_digest(*read_arrays(info, fetch(info, raw, folder.parent))) == digest
    assert not raw.exists() and not list(tmp_path.rglob("*evil*"))
    with pytest.raises(Unavailable, match=r"holds tiny-imagenet-200/ or tiny-imagenet-200.zip$"):
        fetch(info, raw, None)
    assert info.archive
    served = replace(info, archive=replace(info.archive, urls=(folder.with_suffix(".zip").as_uri(),)))
    assert fetch(served, raw, None) == raw / "tiny-imagenet-200.zip"
    assert data_digest(*read_arrays(served, fetch(info, raw, None))) == digest


def test_wrong_checksum(folder: Path, tmp_path: Path) -> None:
    info = packed(folder)
    path = folder.with_suffix(".zip")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(LmcError, match=r"200.zip: sha256 .*, expected .*; put the publisher's file into the mirror$"):
        fetch(info, tmp_path / "raw", folder.parent)


def truncate(folder: Path) -> None:
    path = folder / "train" / "n02" / "images" / "n02_0.JPEG"
    path.write_bytes(path.read_bytes()[:-40])


def write(path: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / path).write_bytes(content) and None


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


ROWS = [f"val_{i}.JPEG\tn01\t0\t0\t9\t9" for i in range(4)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"train/n02/images/n02_0.JPEG: cannot be decoded \(.*truncated"),
        (write("val/images/val_2.JPEG", b"no image"), r"val/images/val_2.JPEG: cannot be decoded \(no PNG or JPEG\)"),
        (write("val/images/val_2.JPEG", b""), r"val/images/val_2.JPEG: cannot be decoded \(no PNG or JPEG\)"),
        (
            write("train/n01/images/n01_1.JPEG", jpeg((1, 2, 3), (64, 63))),
            "n01_1.JPEG: 64 x 63 pixels of kind RGB, expected 64 x 64 of 8 bits a channel",
        ),
        (lambda folder: shutil.rmtree(folder / "train" / "n03"), r"train/n03/images: 0 images, expected 2"),
        (remove("train/n01/images/n01_0.JPEG"), r"train/n01/images: 1 images, expected 2"),
        (remove("val/images/val_3.JPEG"), r"val/images/val_3.JPEG: cannot be read"),
        (remove("wnids.txt"), r"wnids.txt: cannot be read"),
        (write("wnids.txt", b"n01\nn02\n"), r"wnids.txt: 2 classes, expected 3"),
        (write("wnids.txt", b"\xff\xfe"), r"wnids.txt: is no text"),
        (remove("val/val_annotations.txt"), r"val_annotations.txt: cannot be read"),
        (write("val/val_annotations.txt", b"val_0.JPEG n01\n"), r"val_annotations.txt, line 1: no file name and class"),
        (write("val/val_annotations.txt", "\n".join(ROWS[:3]).encode()), r"txt: lists 3 images, expected 4"),
        (write("val/val_annotations.txt", "\n".join(ROWS[:3] * 2).encode()), r"txt: lists 6 images, expected 4"),
        (
            write("val/val_annotations.txt", "\n".join([*ROWS[:3], "val_3.JPEG\tn99\t"]).encode()),
            r"val_annotations.txt: 'n99' is no class of wnids.txt",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_what_is_wrong_is_named(folder: Path, damage: Callable[[Path], None], message: str, form: str) -> None:
    damage(folder)
    place = folder if form == "folder" else zipped(folder)
    with pytest.raises(LmcError, match=message) as caught:
        read_arrays(INFO, place)
    assert "\n" not in str(caught.value) and str(place) in str(caught.value)


def test_damaged_zips(folder: Path) -> None:
    path = zipped(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(LmcError, match=r"tiny-imagenet-200.zip: truncated or no zip"):
        read_arrays(INFO, path)
    start = whole.index((folder / "train" / "n01" / "images" / "n01_0.JPEG").read_bytes())
    path.write_bytes(whole[: start + 50] + bytes([whole[start + 50] ^ 1]) + whole[start + 51 :])
    with pytest.raises(LmcError, match=r"200.zip: tiny-imagenet-200/train/n01/images/n01_0.JPEG: cannot be read .*CRC"):
        read_arrays(INFO, path)
