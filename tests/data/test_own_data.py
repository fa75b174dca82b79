"""A user's own data, and the example of docs/extending.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.dataset import load_dataset
from lmc_repro.data.fetch import Unavailable, fetch
from lmc_repro.data.prepare import prepare
from lmc_repro.data.readers import read_arrays
from lmc_repro.errors import LmcError

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


def examples() -> tuple[str, dict[str, DatasetInfo]]:
    """The program and the catalog entries of the page."""
    program, *entries = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    found = [entry for entry in entries if "DatasetInfo(" in entry]
    return program, eval("{" + "".join(found) + "}", {"DatasetInfo": DatasetInfo})


FLOWERS = examples()[1]["flowers"]


def test_the_page_s_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program, entries = examples()
    info = entries["halves"]
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    printed = [float(number) for number in re.findall(r"[\d.]+", capsys.readouterr().out)]
    assert printed == [*info.mean, *info.std]
    status = prepare("halves", tmp_path / "prepared", Path("data/raw"), None, info=info)
    assert status["state"] == "ready"
    data = load_dataset(tmp_path / "prepared", "halves", info)
    arrays = np.load("data/raw/halves.npz")
    assert torch.equal(data.train.images.permute(0, 2, 3, 1), torch.from_numpy(arrays["x_train"]))
    assert data.test.labels.tolist() == arrays["y_test"].tolist()


def pixels(value: int, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    """An image whose pixels differ: value, value + 1, ... in red, and 7 in the others."""
    width, height = size
    red = (np.arange(width * height).reshape(height, width) + value).astype(np.uint8)
    colour = np.stack([red, np.full_like(red, 7), np.full_like(red, 7)], -1)
    return Image.fromarray(red if mode == "L" else colour).convert(mode)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The folder of the page's tree, with 3 train images a class and 2 test images."""
    for half, n, first in (("train", 3, 0), ("test", 2, 50)):
        for rank, name in enumerate(("daisy", "rose")):
            folder = tmp_path / "raw" / "flowers" / half / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels(first + 20 * rank + i).save(folder / f"{i:04}.png")
    return tmp_path / "raw"


def test_the_page_s_folder(raw: Path, tmp_path: Path) -> None:
    (raw / "flowers" / "train" / "rose" / "notes.txt").write_text("no image")
    (raw / "flowers" / ".DS_Store").write_bytes(b"")
    prepare("flowers", tmp_path / "prepared", raw, None, info=FLOWERS)
    data = load_dataset(tmp_path / "prepared", "flowers", FLOWERS)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 20, 21, 22]
    assert data.test.images[:, 0, 0, 0].tolist() == [50, 51, 70, 71]
    assert data.train.images[0, 0].flatten().tolist() == list(range(64))
    assert data.train.images[:, 1:].unique().tolist() == [7]


def test_val_serves_as_test_and_the_mirror_as_raw(raw: Path, tmp_path: Path) -> None:
    (raw / "flowers" / "test").rename(raw / "flowers" / "val")
    place = fetch(FLOWERS, tmp_path / "nothing", raw)
    assert len(read_arrays(FLOWERS, place)[1]) == 4
    with pytest.raises(Unavailable, match=r"Flowers is not on this machine; put it into .*/flowers, or set LMC_DATA"):
        fetch(FLOWERS, tmp_path / "nothing", None)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_kinds_of_image(raw: Path, mode: str) -> None:
    image = pixels(9, "L" if mode in ("L", "LA", "1") else "RGB").convert(mode)
    image.save(raw / "flowers" / "train" / "daisy" / "0000.png")
    read = read_arrays(FLOWERS, raw / "flowers")[0].images[0]
    assert torch.equal(read, torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    grey = replace(FLOWERS, shape=(1, 8, 8), mean=(0.5,), std=(0.25,))
    read = read_arrays(grey, raw / "flowers")[0].images[0, 0]
    assert torch.equal(read, torch.from_numpy(np.array(image.convert("L"))))


def one_class(folder: Path) -> None:
    for half in ("train", "test"):
        (folder / half / "rose").rename(folder.parent / f"rose of {half}")


def emptied(folder: Path) -> None:
    for path in (folder / "train" / "daisy").iterdir():
        path.unlink()


FIRST = "train/daisy/0000.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (one_class, r"flowers/train: 1 classes; make a folder for each class, two at least$"),
        (lambda folder: (folder / "test").rename(folder / "other"), r"flowers/val: 0 classes; make a folder"),
        (lambda folder: (folder / "test" / "rose").rename(folder / "test" / "tulip"), "class 'rose' is in one of"),
        (lambda folder: (folder / FIRST).unlink(), "train: 5 images, expected 6; mend `n_train` in the catalog"),
        (emptied, r"train/daisy: no image \(.png, .jpg, .jpeg\); put some there"),
        (lambda folder: (folder / FIRST).write_bytes(b"x"), r"0000.png: cannot be decoded \(no PNG or JPEG\)"),
        (lambda folder: pixels(0, size=(8, 9)).save(folder / FIRST), "0000.png: 8 x 9 pixels .* expected 8 x 8"),
        (
            lambda folder: Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / FIRST),
            "0000.png: 8 x 8 pixels of kind I;16, expected 8 x 8 of 8 bits a channel",
        ),
    ],
)
def test_folders_that_are_wrong(raw: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(raw / "flowers")
    with pytest.raises(LmcError, match=message) as caught:
        read_arrays(FLOWERS, raw / "flowers")
    assert "\n" not in str(caught.value)


def test_more_classes_than_the_catalog_says(raw: Path) -> None:
    with pytest.raises(LmcError, match="flowers: 2 classes, expected 3; mend `classes` in the catalog"):
        read_arrays(replace(FLOWERS, classes=3), raw / "flowers")


GREY = replace(FLOWERS, shape=(1, 4, 5), classes=3, n_train=3, n_test=2, mean=(0.5,), std=(0.2,), format="npz")
X = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
ARRAYS = {"x_train": X, "y_train": np.array([0, 1, 2]), "x_test": X[:2], "y_test": np.array([[2], [0]], np.uint8)}


def test_grey_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "grey.npz", **ARRAYS)
    train, test = read_arrays(GREY, tmp_path / "grey.npz")
    assert torch.equal(train.images, torch.from_numpy(X)[:, None]) and test.labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": X / 255}, r"x_train is float64 \[3, 4, 5\]; make it uint8"),
        ({"x_train": X[:2]}, r"x_train is \[2, 4, 5, 1\], expected \[3, 4, 5, 1\]"),
        ({"x_test": X[:2].transpose(0, 2, 1)}, r"x_test is \[2, 5, 4, 1\], expected \[2, 4, 5, 1\]"),
        ({"y_train": np.array([0.0, 1.0, 2.0])}, r"y_train is float64 \[3\]; make it whole numbers \[3\]"),
        ({"y_train": np.array([0, 1])}, r"y_train is int64 \[2\]; make it whole numbers \[3\]"),
        ({"y_train": np.array([0, 1, 3])}, r"labels go from 0 to 3, expected 0 to 2"),
        ({"y_test": np.array([{}, {}])}, r"not an .npz of plain arrays"),
        ({"y_test": None}, r"not an .npz of plain arrays"),
    ],
)
def test_npz_files_that_are_wrong(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **{name: array for name, array in (ARRAYS | change).items() if array is not None})
    with pytest.raises(LmcError, match=rf"own.npz.*{message}") as caught:
        read_arrays(GREY, path)
    assert "\n" not in str(caught.value)


def test_no_npz_at_all(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    for content in (b"", b"text", b"PK\x03\x04" + b"\0" * 40):
        path.write_bytes(content)
        with pytest.raises(LmcError, match=r"own.npz: not an .npz of plain arrays"):
            read_arrays(GREY, path)
