"""A user's own data: described as docs/extending.md shows, or by its content alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.data.acquire import Unavailable, fetch
from lmc_repro.data.custom_dataset import Batches, of_dataset, read_unlisted
from lmc_repro.data.dataset import Dataset, load_dataset, normalise
from lmc_repro.data.prepare import prepare
from lmc_repro.data.readers import read_arrays

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


def examples() -> tuple[str, dict[str, DatasetInfo]]:
    """The program and the data sets of the page."""
    program, *blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = {"DatasetInfo": DatasetInfo}
    for block in blocks:
        if "= DatasetInfo(" in block:
            exec(block, found)
    return program, {value.name: value for value in found.values() if isinstance(value, DatasetInfo)}


FLOWERS = examples()[1]["flowers"]


def refused(read: Callable[[], object], place: Path) -> str:
    with pytest.raises(LmcError) as caught:
        read()
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(place))
    return str(caught.value)


def test_the_page_s_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program, entries = examples()
    info = entries["halves"]
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    printed = [float(number) for number in re.findall(r"[\d.]+", capsys.readouterr().out)]
    assert printed == [*info.mean, *info.std]
    assert prepare("halves", tmp_path / "prepared", Path("data/raw"), None, info=info)["state"] == "ready"
    data, arrays = load_dataset(tmp_path / "prepared", "halves", info), np.load("data/raw/halves.npz")
    assert torch.equal(data.train.images.permute(0, 2, 3, 1), torch.from_numpy(arrays["x_train"]))
    assert data.test.labels.tolist() == arrays["y_test"].tolist()
    unlisted = read_unlisted(Path("data/raw/halves.npz"))
    assert unlisted.digest == data.digest and unlisted.info is not None
    assert np.allclose([unlisted.info.mean, unlisted.info.std], [info.mean, info.std], atol=5e-5)


def pixels(value: int, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    """An image whose pixels differ: value, value + 1, ... in red, and 7 in the others."""
    width, height = size
    red = (np.arange(width * height).reshape(height, width) + value).astype(np.uint8)
    colour = np.stack([red, np.full_like(red, 7), np.full_like(red, 7)], -1)
    return Image.fromarray(red if mode == "L" else colour).convert(mode)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """The folder of the page's tree, with 3 train images per class and 2 test images."""
    for half, n, first in (("train", 3, 0), ("test", 2, 50)):
        for rank, name in enumerate(("daisy", "rose")):
            folder = tmp_path / "raw" / "flowers" / half / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels(first + 20 * rank + i).save(folder / f"{i:04}.png")
    return tmp_path / "raw" / "flowers"


def test_the_page_s_folder(flowers: Path, tmp_path: Path) -> None:
    (flowers / "train" / "rose" / "notes.txt").write_text("no image")
    (flowers / ".DS_Store").write_bytes(b"")
    prepare("flowers", tmp_path / "prepared", flowers.parent, None, info=FLOWERS)
    data = load_dataset(tmp_path / "prepared", "flowers", FLOWERS)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 20, 21, 22]
    assert data.test.images[:, 0, 0, 0].tolist() == [50, 51, 70, 71]
    assert data.train.images[0, 0].flatten().tolist() == list(range(64))
    assert data.train.images[:, 1:].unique().tolist() == [7]
    seen: list[tuple[str, int, int]] = []
    unlisted = read_unlisted(flowers, lambda *progress: seen.append(progress))
    assert unlisted.digest == data.digest and unlisted.info is not None and unlisted.info.shape == (3, 8, 8)
    assert seen == [("decoding flowers, train", 6, 6), ("decoding flowers, test", 4, 4)]


def test_classes_come_in_the_order_of_their_names(flowers: Path) -> None:
    for half in ("train", "test"):  # a path of "daisy-b/" sorts before one of "daisy/"
        (flowers / half / "rose").rename(flowers / half / "daisy-b")
    train, _ = read_arrays(FLOWERS, flowers)
    assert train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 20, 21, 22] and train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_val_serves_as_test_and_the_mirror_as_raw(flowers: Path, tmp_path: Path) -> None:
    (flowers / "test").rename(flowers / "val")
    assert len(read_arrays(FLOWERS, fetch(FLOWERS, tmp_path / "nothing", flowers.parent))[1]) == 4
    with pytest.raises(Unavailable, match=r"/flowers, or set LMC_DATA_MIRROR"):
        fetch(FLOWERS, tmp_path / "nothing", None)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_kinds_of_image(flowers: Path, mode: str) -> None:
    image = pixels(9, "L" if mode in ("L", "LA", "1") else "RGB").convert(mode)
    image.save(flowers / "train" / "daisy" / "0000.png")
    read = read_arrays(FLOWERS, flowers)[0].images[0]
    assert torch.equal(read, torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    grey = replace(FLOWERS, shape=(1, 8, 8), mean=(0.5,), std=(0.25,))
    assert torch.equal(read_arrays(grey, flowers)[0].images[0, 0], torch.from_numpy(np.array(image.convert("L"))))
    found = read_unlisted(flowers).info
    assert found is not None and found.shape[0] == (1 if mode in ("L", "LA", "1") else 3)


def one_class(folder: Path) -> None:
    for half in ("train", "test"):
        (folder / half / "rose").rename(folder.parent / f"rose of {half}")


def emptied(folder: Path) -> None:
    for path in (folder / "train" / "daisy").iterdir():
        path.rename(folder / "train" / "rose" / f"daisy {path.name}")


FIRST = "train/daisy/0000.png"
WIDE = Image.fromarray(np.zeros((8, 8), np.uint16))
FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one class": (one_class, "flowers/train: 1 classes"),
    "no test": (lambda folder: (folder / "test").rename(folder / "other"), "flowers/val: 0 classes"),
    "other classes": (lambda folder: (folder / "test" / "rose").rename(folder / "test" / "tulip"), "class 'rose'"),
    "an empty class": (emptied, "flowers/train: 1 classes"),
    "a broken image": (lambda folder: (folder / FIRST).write_bytes(b"x"), "0000.png: cannot be decoded"),
    "another size": (lambda folder: pixels(0, size=(8, 9)).save(folder / FIRST), "png: "),
    "16 bits": (lambda folder: WIDE.save(folder / FIRST), "0000.png: 8 x 8 pixels of kind I;16, expected 8 x 8"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_are_wrong(flowers: Path, case: str) -> None:
    damage, told = FOLDERS[case]
    damage(flowers)
    for read in (lambda: read_arrays(FLOWERS, flowers), lambda: read_unlisted(flowers)):
        assert told in refused(read, flowers)


@pytest.mark.parametrize(("change", "told"), [({"classes": 3}, "2 classes, expected 3"), ({"n_train": 5}, "expected")])
def test_folders_that_are_not_the_catalogs(flowers: Path, change: dict[str, int], told: str) -> None:
    assert told in refused(lambda: read_arrays(replace(FLOWERS, **change), flowers), flowers)


def arrays(**changes: Any) -> dict[str, Any]:
    """Two colour images of 2 x 3 to train on, one to test on."""
    x = np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3)
    return {"x_train": x, "y_train": np.array([0, 2]), "x_test": x[:1] + 7, "y_test": np.array([[1]]), **changes}


LISTED = replace(FLOWERS, shape=(3, 2, 3), classes=3, n_train=2, n_test=1, format="npz")


def test_an_npz_of_images(tmp_path: Path) -> None:
    np.savez(path := tmp_path / "mine.npz", **arrays())
    samples = read_unlisted(path)
    assert samples.info is not None and samples.info.shape == (3, 2, 3)
    assert (samples.name, samples.classes, len(samples.train), len(samples.test)) == ("mine.npz", 3, 2, 1)
    assert samples.train.images[1, 2].tolist() == [[20, 23, 26], [29, 32, 35]]  # channel 2 of the second image
    assert torch.equal(read_arrays(LISTED, path)[0].images, samples.train.images)
    values = torch.cat([inputs for inputs, _ in Batches(samples.train, samples.info, 1)])
    assert torch.allclose(values.mean((0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(values.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-6)


def test_grey_images_and_a_channel_of_one_value(tmp_path: Path) -> None:
    grey = arrays(x_train=np.full((2, 4, 4), 9, np.uint8), x_test=np.zeros((1, 4, 4), np.uint8))
    np.savez(path := tmp_path / "grey.npz", **grey)
    samples = read_unlisted(path)
    assert samples.info is not None and (samples.info.shape, samples.info.std) == ((1, 4, 4), (1.0,))
    ((inputs, _),) = Batches(samples.train, samples.info, 10)
    assert inputs.abs().max() < 1e-6
    listed = replace(LISTED, shape=(1, 4, 4), mean=(0.5,), std=(0.5,))
    assert read_arrays(listed, path)[1].labels.tolist() == [1]


def test_floats_are_left_alone(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 10).reshape(2, 5)
    np.savez(path := tmp_path / "floats.npz", **arrays(x_train=x, x_test=x[:1], y_train=np.array([[3], [0]])))
    samples = read_unlisted(path)
    assert samples.info is None and samples.classes == 4 and samples.train.labels.tolist() == [3, 0]
    ((inputs, labels),) = Batches(samples.train, samples.info, 10)
    assert inputs.dtype == torch.float32 and inputs.tolist() == x.astype(np.float32).tolist() and len(labels) == 2
    assert "torch.float32" in refused(lambda: read_arrays(LISTED, path), path)


def test_batches_come_in_order_and_again(digits: Dataset) -> None:
    samples = of_dataset(digits)
    batches = Batches(samples.train, samples.info, 400)
    once, again = list(batches), list(batches)
    assert [len(labels) for _, labels in once] == [400, 400, 99]
    assert torch.equal(torch.cat([inputs for inputs, _ in once]), normalise(digits.train.images, digits.info))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(once, again, strict=True))


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no array": ({"y_test": None}, "not an .npz of plain arrays"),
    "objects": ({"y_test": np.array([{}])}, "not an .npz of plain arrays"),
    "whole numbers": ({"x_test": np.zeros((1, 2, 3, 3), int)}, "x_test is int64"),
    "no images": ({"x_train": np.zeros((0, 2, 3, 3), np.uint8)}, "x_train is uint8 [0, 2, 3, 3]"),
    "labels": ({"y_train": np.array([0.0, 1.0])}, "y_train is float64 [2]"),
    "a label": ({"y_train": np.array([-1, 1])}, "y_train is int64 [2]"),
    "labels from 1": ({"y_train": np.array([1, 3]), "y_test": np.array([2])}, "labels begin with 1; "),
    "ignored labels": ({"y_train": np.array([-100, 1])}, "y_train is int64 [2], -100 at least"),
    "labels of text": ({"y_train": np.array(["a", "b"])}, "y_train is <U1 [2]"),
    "one class": ({"y_train": np.array([0, 0])}, "y_train holds one class, 0"),
    "nan": ({"x_train": np.array([[0.0, 1.0], [2.0, np.nan]])}, "x_train: sample 1 has numbers that are not finite"),
    "infinite": ({"x_test": np.array([[np.inf]], np.float32)}, "x_test: sample 0 has"),
    "too large": ({"x_test": np.array([[1e300]])}, "x_test: sample 0 has"),
    "too few labels": ({"y_test": np.array([0, 1])}, "y_test is int64 [2]"),
    "another size": ({"x_test": np.zeros((1, 9, 9, 3), np.uint8)}, "9, 9"),
    "another type": ({"x_test": np.zeros((1, 3, 2, 3), np.float32)}, "float32"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_npz_files_that_are_wrong(tmp_path: Path, case: str) -> None:
    change, told = MISTAKES[case]
    path = tmp_path / "mine.npz"
    np.savez(path, **{name: value for name, value in arrays(**change).items() if value is not None})
    for read in (lambda: read_arrays(LISTED, path), lambda: read_unlisted(path)):
        assert told in refused(read, path)


@pytest.mark.parametrize(("change", "told"), [({"n_train": 3}, "expected"), ({"classes": 2}, "labels go from 0 to 2")])
def test_npz_files_that_are_not_the_catalogs(tmp_path: Path, change: dict[str, int], told: str) -> None:
    np.savez(path := tmp_path / "mine.npz", **arrays())
    assert told in refused(lambda: read_arrays(replace(LISTED, **change), path), path)


def test_no_npz_at_all(tmp_path: Path) -> None:
    for content in (b"", b"text", b"PK\x03\x04" + b"\0" * 40):
        (path := tmp_path / "mine.npz").write_bytes(content)
        assert "not an .npz of plain arrays" in refused(lambda: read_unlisted(path), path)
    (tmp_path / "empty").mkdir()
    assert "0 classes" in refused(lambda: read_unlisted(tmp_path / "empty"), tmp_path / "empty")
