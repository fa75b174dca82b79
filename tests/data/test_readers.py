"""The publishers' formats: small files in exactly these formats, and their own files where they are at hand."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import children
from publishers import array, cifar_batch, gzipped_idx, jpeg, numbers, python2_dict, recorded, text, tiny_imagenet

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import CATALOG, DatasetInfo
from lmc_repro.data.acquire import Unavailable, fetch
from lmc_repro.data.dataset import data_digest, load_dataset, normalise
from lmc_repro.data.loaders import open_loader
from lmc_repro.data.prepare import prepare
from lmc_repro.data.readers import read_arrays

MIRROR = Path(os.environ.get("LMC_DATA_MIRROR", "/nonexistent"))


def refused(info: DatasetInfo, place: Path) -> str:
    with pytest.raises(LmcError) as caught:
        read_arrays(info, place)
    assert "\n" not in str(caught.value) and str(place) in str(caught.value)
    return str(caught.value)


def of_files(folder: Path, name: str, **changes: Any) -> DatasetInfo:
    """The catalog's entry with the files of `folder` recorded as they are."""
    files = tuple(recorded(folder / file.name) for file in CATALOG[name].files if (folder / file.name).exists())
    return replace(CATALOG[name], digest="", archive=None, files=files, **changes)


LABELS = bytes((0, 0, 8, 1, 0, 0, 0, 5)) + bytes((0, 1, 2, 0, 1))
IDX: dict[str, tuple[bytes, str]] = {
    "cut": (gzip.compress(LABELS)[:-5], "cannot be decoded"),
    "page": (b"<html>not found</html>", "cannot be decoded"),
    "empty": (gzip.compress(b""), "not IDX"),
    "floats": (gzip.compress(LABELS[:2] + b"\x0d" + LABELS[3:]), "not IDX"),
    "short": (gzip.compress(LABELS[:-1]), "cannot be decoded"),
    "long": (gzip.compress(LABELS + b"e"), "cannot be decoded"),
    "fewer labels": (gzipped_idx(np.arange(4) % 3), "labels are torch.int64 [4]"),
    "a label": (gzipped_idx(np.arange(5)), "labels go from 0 to 4"),
}


def refused_last_file(info: DatasetInfo, folder: Path, content: bytes) -> str:
    """Return the line of a last file with this content, recorded as it is; the catalog's checksum refuses it, too."""
    path = folder / info.files[-1].name
    path.write_bytes(content)
    assert f"{path}: " in refused(info, folder)
    return refused(replace(info, files=(*info.files[:-1], recorded(path))), folder)


@pytest.mark.parametrize("content, found", IDX.values(), ids=IDX)
def test_idx_files_that_are_wrong(mirror: Path, tiny: DatasetInfo, content: bytes, found: str) -> None:
    assert found in refused_last_file(tiny, mirror / tiny.folder, content)


SHAPE = (3, 4, 2)


def images(n: int, first: int) -> np.ndarray:
    """uint8 [n, 3, 4, 2]: every value differs from its neighbours in each direction."""
    return ((np.arange(n * 24) * 7 + first) % 256).astype(np.uint8).reshape(n, *SHAPE)


@pytest.fixture
def ten(tmp_path: Path) -> DatasetInfo:
    """A CIFAR-10 of two train batches below tmp_path/mirror."""
    folder = tmp_path / "mirror" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(cifar_batch(images(3, 0), [0, 1, 2]))
    (folder / "data_batch_2").write_bytes(cifar_batch(images(2, 90), [2, 1]))
    (folder / "test_batch").write_bytes(cifar_batch(images(4, 50), [0, 0, 1, 2]))
    return of_files(folder, "cifar10", shape=SHAPE, classes=3, n_train=5, n_test=4)


def test_batches_in_their_order_planes_as_they_lie_and_in_both_loaders(ten: DatasetInfo, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepare("cifar10", prepared, tmp_path / "raw", tmp_path / "mirror", info=ten)
    data = load_dataset(prepared, "cifar10", ten)
    assert torch.equal(data.train.images, torch.from_numpy(np.concatenate([images(3, 0), images(2, 90)])))
    assert data.train.labels.tolist() == [0, 1, 2, 2, 1]
    assert torch.equal(data.test.images, torch.from_numpy(images(4, 50)))
    assert data.test.labels.tolist() == [0, 0, 1, 2]
    both = [open_loader(kind, data, prepared, children(0, 5), 2, False, "philox") for kind in ("resident", "ffcv")]
    for a, b in zip(both[0].epoch(1), both[1].epoch(1), strict=True):
        assert a.images.shape[2:] == SHAPE and all(map(torch.equal, a, b))


def test_fine_labels_and_md5_sums_of_cifar100(tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "cifar-100-python"
    folder.mkdir(parents=True)
    (folder / "train").write_bytes(cifar_batch(images(3, 0), [9, 0, 5], coarse=[1, 1, 1]))
    (folder / "test").write_bytes(cifar_batch(images(2, 10), [1, 9], coarse=[0, 0]))
    files = tuple(recorded(folder / name, md5=True) for name in ("train", "test"))
    info = replace(CATALOG["cifar100"], shape=SHAPE, classes=10, n_train=3, n_test=2, files=files)
    train, test = read_arrays(info, fetch(info, tmp_path / "raw", tmp_path / "mirror"))
    assert train.labels.tolist() == [9, 0, 5] and test.labels.tolist() == [1, 9]
    (folder / "train").write_bytes((folder / "train").read_bytes().replace(b"image_0", b"image_9"))
    with pytest.raises(LmcError, match=rf"train: md5 [0-9a-f]{{32}}, expected {files[0].checksum}"):
        fetch(info, tmp_path / "new", tmp_path / "mirror")


def rows(n: int) -> bytes:
    return array(images(n, 0).reshape(n, 24))


CIFAR: dict[str, tuple[bytes, str]] = {
    "cut": (python2_dict({"data": rows(4), "labels": numbers([0, 0, 1, 2])})[:-20], "cannot be decoded"),
    "empty": (b"", "cannot be decoded"),
    "no images": (python2_dict({"labels": numbers([0, 1])}), "cannot be decoded"),
    "text": (python2_dict({"data": text("x"), "labels": numbers([0])}), "cannot be decoded"),
    "other rows": (python2_dict({"data": array(images(2, 0)[:, :, :2].reshape(2, 12)), "labels": numbers([0])}), "4"),
    "floats": (python2_dict({"data": array(images(4, 0).reshape(4, 24) / 1), "labels": numbers([0])}), "float"),
    "fewer images": (python2_dict({"data": rows(3), "labels": numbers([0, 1, 2])}), "[3, 3, 4, 2], expected"),
    "fewer labels": (python2_dict({"data": rows(4), "labels": numbers([0])}), "labels are torch.int64 [1]"),
    "no labels": (python2_dict({"data": rows(4)}), "cannot be decoded"),
    "a label": (python2_dict({"data": rows(4), "labels": numbers([0, 1, 2, 3])}), "labels go from 0 to 3"),
}  # fmt: skip


@pytest.mark.parametrize("content, found", CIFAR.values(), ids=CIFAR)
def test_batches_that_are_not_cifars(ten: DatasetInfo, tmp_path: Path, content: bytes, found: str) -> None:
    assert found in refused_last_file(ten, tmp_path / "mirror" / ten.folder, content)


NAMES = {
    "eval": b"cbuiltins\neval\n" + text("1") + b"\x85R",
    "getattr": b"c__builtin__\ngetattr\n)R",
    "numpy.load": b"cnumpy\nload\n" + text("x") + b"\x85R",
    "os.system": b"(ios\nsystem\n" + text("true") + b"t.",
    "fromstring": b"cnumpy.core.multiarray\nfromstring\n)R",
    "persistent": b"Pname\n",
    "stack global": text("os") + text("system") + b"\x93" + text("true") + b"\x85R",
}


def test_a_pickle_runs_nothing_whatever_its_recorded_checksum(ten: DatasetInfo, tmp_path: Path) -> None:
    proof, folder = tmp_path / "proof", tmp_path / "mirror" / ten.folder

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[list[str]]]:
            return subprocess.check_call, (["touch", str(proof)],)

    pickle.loads(content := pickle.dumps({b"data": Evil()}))  # it does run where pickles are trusted
    proof.unlink()
    for bad in (content, *(python2_dict({"data": value}) for value in NAMES.values())):
        assert "cannot be decoded" in refused_last_file(ten, folder, bad)
        assert not proof.exists()


TINY = replace(CATALOG["tinyimagenet"], classes=3, n_train=6, n_test=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_imagenet(tmp_path / "mirror")


def zipped(folder: Path) -> Path:
    """The publisher's archive beside the folder, with members that lead out of it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil", b"evil")
        archive.writestr("tiny-imagenet-200/train/../../../evil", b"evil")
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def test_labels_are_ranks_of_wnids_and_grey_becomes_colour(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    raw, prepared = tmp_path / "raw", tmp_path / "prepared"
    prepare("tinyimagenet", prepared, raw, folder.parent, lambda *progress: seen.append(progress), TINY)
    data = load_dataset(prepared, "tinyimagenet", TINY)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2] and data.test.labels.tolist() == [1, 2, 0, 2]
    # One colour per image: its mean is what was drawn, within JPEG's rounding.
    expected = [[100, 0, 0], [200, 0, 0], [0, 100, 0], [200, 200, 200], [0, 0, 100], [0, 0, 200]]
    assert (data.train.images.float().mean((2, 3)) - torch.tensor(expected)).abs().max() < 3
    expected = [[0, 150, 0], [0, 0, 150], [150, 0, 0], [150, 150, 150]]
    assert (data.test.images.float().mean((2, 3)) - torch.tensor(expected)).abs().max() < 3
    assert seen == [("decoding Tiny ImageNet, train", 6, 6), ("decoding Tiny ImageNet, val", 4, 4)]
    assert not raw.exists()  # an unpacked mirror is read where it lies


def test_the_zip_is_read_in_place(folder: Path, tmp_path: Path) -> None:
    digest, path, raw = data_digest(*read_arrays(TINY, folder)), zipped(folder), tmp_path / "below" / "raw"
    shutil.rmtree(folder)
    info = replace(TINY, archive=recorded(path, urls=((folder / "nowhere").as_uri(),)))
    assert data_digest(*read_arrays(info, fetch(info, raw, folder.parent))) == digest
    assert not raw.exists() and not list(tmp_path.rglob("*evil*"))
    with pytest.raises(Unavailable, match=r"holds tiny-imagenet-200/ or tiny-imagenet-200.zip$"):
        fetch(info, raw, None)
    served = replace(info, archive=recorded(path, urls=(path.as_uri(),)))
    assert fetch(served, raw, None) == raw / path.name
    assert data_digest(*read_arrays(served, raw / path.name)) == digest
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(LmcError, match=r"200.zip: sha256 "):
        fetch(info, tmp_path / "raw", folder.parent)


def write(path: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes(content)


def remove(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).unlink()


ROWS = [f"val_{i}.JPEG\tn01\t0\t0\t9\t9" for i in range(4)]
JPEG, VAL = "train/n02/images/n02_0.JPEG", "val/val_annotations.txt"
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / JPEG).write_bytes((folder / JPEG).read_bytes()[:-40]), f"{JPEG}: cannot be decoded"),
    (write("val/images/val_2.JPEG", b"no image"), "val/images/val_2.JPEG: cannot be decoded (no PNG or JPEG)"),
    (write("val/images/val_2.JPEG", b""), "val/images/val_2.JPEG: cannot be decoded (no PNG or JPEG)"),
    (write(JPEG, jpeg((1, 2, 3), (64, 63))), "n02_0.JPEG: 64 x 63 pixels of kind RGB, expected 64 x 64"),
    (lambda folder: shutil.rmtree(folder / "train" / "n03"), "train/n03/images: 0 images, expected 2"),
    (remove(JPEG), "train/n02/images: 1 images, expected 2"),
    (remove("val/images/val_3.JPEG"), "val/images/val_3.JPEG: cannot be read"),
    (remove("wnids.txt"), "wnids.txt: cannot be read"),
    (write("wnids.txt", b"n01\nn02\n"), "wnids.txt: 2 classes, expected 3"),
    (write("wnids.txt", b"\xff\xfe"), "wnids.txt: is no text"),
    (remove(VAL), "val_annotations.txt: cannot be read"),
    (write(VAL, b"val_0.JPEG n01\n"), "val_annotations.txt, line 1: "),
    (write(VAL, "\n".join(ROWS[:3]).encode()), "txt: lists 3 images, expected 4"),
    (write(VAL, "\n".join(ROWS[:3] * 2).encode()), "txt: lists 6 images, expected 4"),
    (write(VAL, "\n".join([*ROWS[:3], "val_3.JPEG\tn99\t"]).encode()), "val_annotations.txt: 'n99' is no class"),
    (write(VAL, "\n".join([*ROWS[:3], "../../wnids.txt\tn01"]).encode()), "val/images/../../wnids.txt: cannot be read"),
]


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize(("damage", "told"), DAMAGES, ids=[told for _, told in DAMAGES])
def test_what_is_wrong_is_named(folder: Path, damage: Callable[[Path], object], told: str, form: str) -> None:
    damage(folder)
    assert told in refused(TINY, folder if form == "folder" else zipped(folder))


def test_damaged_zips(folder: Path) -> None:
    path = zipped(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    assert "truncated or no zip" in refused(TINY, path)
    start = whole.index((folder / JPEG).read_bytes())
    path.write_bytes(whole[: start + 50] + bytes([whole[start + 50] ^ 1]) + whole[start + 51 :])
    assert f"200.zip: tiny-imagenet-200/{JPEG}: cannot be read (Bad CRC" in refused(TINY, path)


@pytest.mark.slow
@pytest.mark.skipif(not (MIRROR / "MNIST").is_dir(), reason="LMC_DATA_MIRROR holds no MNIST")
def test_mnist_from_the_mirror(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    assert prepare("mnist", prepared, tmp_path / "raw", MIRROR)["digest"] == CATALOG["mnist"].digest
    mnist = load_dataset(prepared, "mnist")
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9] and mnist.test.labels[:3].tolist() == [7, 2, 1]
    assert int(mnist.train.images[0].sum()) == 27525  # a 5
    normal = normalise(mnist.train.images, mnist.info)
    assert abs(normal.mean().item()) < 1e-3 and abs(normal.std().item() - 1) < 1e-3
    kinds = ("resident", "ffcv")
    both = [open_loader(kind, mnist, prepared, children(0, 1), 1024, False, "philox", 2) for kind in kinds]
    for a, b in zip(both[0].epoch(3), both[1].epoch(3), strict=True):
        assert all(map(torch.equal, a, b))
    assert a.labels.shape[1] == 60000 % 1024


@pytest.mark.slow
@pytest.mark.skipif(not (MIRROR / "cifar-10-batches-py").is_dir(), reason="LMC_DATA_MIRROR holds no CIFAR-10")
def test_cifar10_from_the_mirror(tmp_path: Path) -> None:
    from torchvision.datasets import CIFAR10

    info = CATALOG["cifar10"]
    place = fetch(info, tmp_path / "raw", MIRROR)
    for name, md5 in CIFAR10.train_list + CIFAR10.test_list:
        assert hashlib.md5((place / name).read_bytes()).hexdigest() == md5
    assert prepare("cifar10", tmp_path / "prepared", tmp_path / "raw", None)["digest"] == info.digest
    data = load_dataset(tmp_path / "prepared", "cifar10")
    assert torch.bincount(data.train.labels).tolist() == [5000] * 10
    assert data.train.labels[:5].tolist() == [6, 9, 9, 4, 1] and int(data.train.images[0].sum()) == 317790
    normal = normalise(data.train.images, info)
    assert normal.mean((0, 2, 3)).abs().max() < 1e-3 and (normal.std((0, 2, 3)) - 1).abs().max() < 1e-3
