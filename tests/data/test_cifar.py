from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import children
from publishers import array, cifar_batch, numbers, python2_dict, recorded, tar_gz, text

from lmc_repro.data.catalog import CATALOG, DatasetInfo
from lmc_repro.data.dataset import load_dataset, normalise
from lmc_repro.data.fetch import Unavailable, fetch
from lmc_repro.data.loader import open_loader
from lmc_repro.data.prepare import prepare
from lmc_repro.data.readers import read_arrays
from lmc_repro.errors import LmcError

MIRROR = os.environ.get("LMC_DATA_MIRROR", "")
SHAPE = (3, 4, 2)


def images(n: int, first: int) -> np.ndarray:
    """uint8 [n, 3, 4, 2]: every value differs from its neighbours in each direction."""
    return ((np.arange(n * 24) * 7 + first) % 256).astype(np.uint8).reshape(n, *SHAPE)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with a CIFAR-10 of two train batches and a CIFAR-100, unpacked."""
    ten, hundred = tmp_path / "mirror" / "cifar-10-batches-py", tmp_path / "mirror" / "cifar-100-python"
    ten.mkdir(parents=True)
    hundred.mkdir()
    (ten / "data_batch_1").write_bytes(cifar_batch(images(3, 0), [0, 1, 2]))
    (ten / "data_batch_2").write_bytes(cifar_batch(images(2, 90), [2, 1]))
    (ten / "test_batch").write_bytes(cifar_batch(images(4, 50), [0, 0, 1, 2]))
    (hundred / "train").write_bytes(cifar_batch(images(3, 0), [9, 0, 5], coarse=[1, 1, 1]))
    (hundred / "test").write_bytes(cifar_batch(images(2, 10), [1, 9], coarse=[0, 0]))
    return tmp_path / "mirror"


@pytest.fixture
def ten(mirror: Path) -> DatasetInfo:
    folder = mirror / "cifar-10-batches-py"
    files = tuple(recorded(folder / name) for name in ("data_batch_1", "data_batch_2", "test_batch"))
    made = replace(CATALOG["cifar10"], shape=SHAPE, classes=3, n_train=5, n_test=4, digest="", files=files)
    return replace(made, archive=None)


def packed(ten: DatasetInfo, mirror: Path) -> DatasetInfo:
    """The same data in the publisher's archive alone, beside members that nobody wants."""
    folder = mirror / ten.folder
    members = [(tarfile.TarInfo(f"{ten.folder}/{file.name}"), (folder / file.name).read_bytes()) for file in ten.files]
    link = tarfile.TarInfo(f"{ten.folder}/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    names = ("../evil", "/tmp/lmc-evil", f"{ten.folder}/../../evil", "readme")
    odd = [(tarfile.TarInfo(name), b"evil") for name in names]
    archive = tar_gz(mirror / "cifar-10-python.tar.gz", [*odd, (link, b""), *members, *odd])
    for file in ten.files:
        (folder / file.name).unlink()
    folder.rmdir()
    return replace(ten, archive=recorded(archive, urls=((mirror / "nowhere").as_uri(),)))


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def test_batches_in_their_order_and_planes_as_they_lie(ten: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    prepare("cifar10", tmp_path / "prepared", tmp_path / "raw", mirror, info=ten)
    data = load_dataset(tmp_path / "prepared", "cifar10", ten)
    assert torch.equal(data.train.images, torch.from_numpy(np.concatenate([images(3, 0), images(2, 90)])))
    assert data.train.labels.tolist() == [0, 1, 2, 2, 1]
    assert torch.equal(data.test.images, torch.from_numpy(images(4, 50)))
    assert data.test.labels.tolist() == [0, 0, 1, 2]


def test_fine_labels_of_cifar100(mirror: Path, tmp_path: Path) -> None:
    folder = mirror / "cifar-100-python"
    files = (recorded(folder / "train", md5=True), recorded(folder / "test", md5=True))
    info = replace(CATALOG["cifar100"], shape=SHAPE, classes=10, n_train=3, n_test=2, files=files)
    train, test = read_arrays(info, fetch(info, tmp_path / "raw", mirror))
    assert train.labels.tolist() == [9, 0, 5] and test.labels.tolist() == [1, 9]
    (folder / "train").write_bytes((folder / "train").read_bytes().replace(b"image_0", b"image_9"))
    with pytest.raises(LmcError, match=r"mirror/cifar-100-python/train: md5 [0-9a-f]{32}, expected [0-9a-f]{32}; put"):
        fetch(info, tmp_path / "new", mirror)


def test_three_channels_in_both_loaders(ten: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepare("cifar10", prepared, tmp_path / "raw", mirror, info=ten)
    data = load_dataset(prepared, "cifar10", ten)
    both = [open_loader(kind, data, prepared, children(0, 5), 2, False, "philox") for kind in ("resident", "ffcv")]
    for a, b in zip(both[0].epoch(1), both[1].epoch(1), strict=True):
        assert a.images.shape[2:] == SHAPE
        assert all(torch.equal(part, part2) for part, part2 in zip(a, b, strict=True))


def test_archive_gives_the_wanted_files_and_nothing_else(ten: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    unpacked = read_arrays(ten, fetch(ten, tmp_path / "raw", mirror))
    info, raw = packed(ten, mirror), tmp_path / "deep" / "raw"
    train, test = read_arrays(info, fetch(info, raw, mirror))
    assert torch.equal(train.images, unpacked[0].images) and torch.equal(test.labels, unpacked[1].labels)
    assert files_below(tmp_path / "deep") == {f"raw/{ten.folder}/{file.name}" for file in ten.files}
    assert not Path("/tmp/lmc-evil").exists()


def test_archive_is_downloaded_where_it_is_nowhere(ten: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    info, raw = packed(ten, mirror), tmp_path / "raw"
    assert info.archive
    with pytest.raises(Unavailable) as caught:
        fetch(info, raw, None)
    assert str(caught.value).startswith("CIFAR-10 could not be downloaded (") and "\n" not in str(caught.value)
    assert str(caught.value).endswith("holds cifar-10-batches-py/ or cifar-10-python.tar.gz")
    served = replace(info, archive=replace(info.archive, urls=((mirror / info.archive.name).as_uri(),)))
    seen: list[tuple[str, int, int]] = []
    fetch(served, raw, None, lambda *progress: seen.append(progress))
    assert seen == [("cifar-10-python.tar.gz", info.archive.size, info.archive.size)]
    assert files_below(raw) == {info.archive.name, *(f"{ten.folder}/{file.name}" for file in ten.files)}


def test_damaged_archives(ten: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    info, raw = packed(ten, mirror), tmp_path / "raw"
    path = mirror / "cifar-10-python.tar.gz"
    whole = path.read_bytes()
    assert info.archive
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(LmcError, match=r"tar.gz: sha256 .*, expected .*; put the publisher's file into the mirror"):
        fetch(info, raw, mirror)
    # The same archives with their checksums recorded: the reader has to notice by itself.
    for content, message in (
        (whole[: len(whole) // 2], "truncated or no .tar.gz"),
        (b"no archive at all", "truncated or no .tar.gz"),
    ):
        path.write_bytes(content)
        with pytest.raises(LmcError, match=rf"cifar-10-python.tar.gz: {message}") as caught:
            fetch(replace(info, archive=recorded(path)), raw, mirror)
        assert "\n" not in str(caught.value)
    first = info.files[0].name
    link = tarfile.TarInfo(f"{ten.folder}/{first}")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    other = tarfile.TarInfo(f"{ten.folder}/{first}")
    for members, message in (
        ([(link, b"")], f"{first} is no regular file"),
        ([(other, b"other")], f"{first} has sha256 [0-9a-f]+, expected"),
        ([(tarfile.TarInfo("x"), b"x")], f"holds no {ten.folder}/{first}, {ten.folder}/{info.files[1].name}"),
    ):
        tar_gz(path, members)
        with pytest.raises(LmcError, match=message):
            fetch(replace(info, archive=recorded(path)), raw, mirror)
    assert files_below(raw) == set()


def rows(n: int) -> bytes:
    return array(images(n, 0).reshape(n, 24))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": numbers([0, 1])}, "data is NoneType, expected rows of 24 bytes"),
        ({"data": text("x"), "labels": numbers([0])}, "data is bytes, expected rows of 24 bytes"),
        ({"data": array(images(2, 0).reshape(3, 16)), "labels": numbers([0])}, r"\[3, 16\], expected rows of 24"),
        ({"data": rows(2), "labels": numbers([0])}, "labels are no list of 2 whole numbers"),
        ({"data": rows(1)}, "labels are no list of 1 whole numbers"),
        ({"data": rows(1), "labels": b"](" + text("x") + b"e"}, "no list of 1 whole numbers"),
        ({"data": rows(4), "labels": numbers([0, 1, 2, 3])}, "labels go from 0 to 3"),
        ({"data": rows(3), "labels": numbers([0, 1, 2])}, r"\[3, 3, 4, 2\], expected .*\[4, 3"),
    ],
)
def test_batches_that_are_not_cifars(ten: DatasetInfo, mirror: Path, content: dict[str, bytes], message: str) -> None:
    folder = mirror / ten.folder
    (folder / "test_batch").write_bytes(python2_dict(content))
    with pytest.raises(LmcError, match=f"test_batch: .*{message}"):
        read_arrays(ten, folder)


def test_checksums_are_those_that_torchvision_lists() -> None:
    from torchvision.datasets import CIFAR10, CIFAR100

    listed = dict(CIFAR100.train_list + CIFAR100.test_list)
    assert {file.name: file.md5 for file in CATALOG["cifar100"].files} == listed
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    assert [file.name for file in CATALOG["cifar10"].files] == names
    for made, info in ((CIFAR10, CATALOG["cifar10"]), (CIFAR100, CATALOG["cifar100"])):
        assert info.archive and info.archive.urls[0] == made.url and info.archive.name == made.filename
        assert info.folder == made.base_folder


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(MIRROR or "/nonexistent") / "cifar-10-batches-py").is_dir(), reason="LMC_DATA_MIRROR holds no CIFAR-10"
)
def test_cifar10_from_the_mirror(tmp_path: Path) -> None:
    from torchvision.datasets import CIFAR10

    info = CATALOG["cifar10"]
    place = fetch(info, tmp_path / "raw", Path(MIRROR))
    for name, md5 in CIFAR10.train_list + CIFAR10.test_list:
        assert hashlib.md5((place / name).read_bytes()).hexdigest() == md5
    status = prepare("cifar10", tmp_path / "prepared", tmp_path / "raw", None)
    assert status["digest"] == info.digest
    data = load_dataset(tmp_path / "prepared", "cifar10")
    assert torch.bincount(data.train.labels).tolist() == [5000] * 10
    assert data.train.labels[:5].tolist() == [6, 9, 9, 4, 1] and int(data.train.images[0].sum()) == 317790
    normal = normalise(data.train.images, info)
    assert normal.mean((0, 2, 3)).abs().max() < 1e-3 and (normal.std((0, 2, 3)) - 1).abs().max() < 1e-3
