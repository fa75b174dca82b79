"""Data that the catalog does not list: read and described by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmc_repro.data.dataset import normalise
from lmc_repro.data.unlisted import Batches, of_dataset, read_unlisted
from lmc_repro.errors import LmcError


def arrays(**changes: Any) -> dict[str, Any]:
    """Two colour images of 2 x 3 to train on, one to test on."""
    x = np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3)
    return {"x_train": x, "y_train": np.array([0, 2]), "x_test": x[:1] + 7, "y_test": np.array([1]), **changes}


def test_an_npz_of_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays())
    samples = read_unlisted(tmp_path / "mine.npz")
    assert samples.info is not None and samples.info.shape == (3, 2, 3)
    assert (samples.name, samples.classes, len(samples.train), len(samples.test)) == ("mine.npz", 3, 2, 1)
    assert samples.train.images[1, 2].tolist() == [[20, 23, 26], [29, 32, 35]]  # channel 2 of the second image
    values = torch.cat([inputs for inputs, _ in Batches(samples.train, samples.info, 1)])
    assert torch.allclose(values.mean((0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(values.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-6)
    red = torch.arange(36.0).view(2, 2, 3, 3)[..., 0]
    assert torch.allclose(values[:, 0], (red - red.mean()) / red.std(correction=0), atol=1e-5)


def test_grey_images_and_a_channel_of_one_value(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "grey.npz", **arrays(x_train=np.full((2, 4, 4), 9, np.uint8), x_test=np.zeros((1, 4, 4), np.uint8))
    )
    samples = read_unlisted(tmp_path / "grey.npz")
    assert samples.info is not None and (samples.info.shape, samples.info.std) == ((1, 4, 4), (1.0,))
    ((inputs, _),) = Batches(samples.train, samples.info, 10)
    assert inputs.abs().max() < 1e-6


def test_floats_are_left_alone(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 10).reshape(2, 5)
    np.savez(tmp_path / "floats.npz", **arrays(x_train=x, x_test=x[:1], y_train=np.array([[3], [0]])))
    samples = read_unlisted(tmp_path / "floats.npz")
    assert samples.info is None and samples.classes == 4 and samples.train.labels.tolist() == [3, 0]
    ((inputs, labels),) = Batches(samples.train, samples.info, 10)
    assert inputs.dtype == torch.float32 and inputs.tolist() == x.astype(np.float32).tolist() and len(labels) == 2


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3)])
def test_a_folder_of_images(tmp_path: Path, mode: str, channels: int) -> None:
    for half, counts in (("train", (2, 1)), ("val", (1, 2))):
        for name, count in zip(("cat", "dog"), counts, strict=True):
            (tmp_path / half / name).mkdir(parents=True)
            for i in range(count):
                Image.new(mode, (4, 5), 10 * i if mode == "L" else (10 * i, 0, 0)).save(
                    tmp_path / half / name / f"{i}.png"
                )
    told: list[str] = []
    samples = read_unlisted(tmp_path, lambda what, done, total: told.append(f"{what} {done} of {total}"))
    assert samples.info is not None and samples.info.shape == (channels, 5, 4)
    assert samples.train.labels.tolist() == [0, 0, 1] and samples.test.labels.tolist() == [0, 1, 1]
    assert told == [f"decoding {tmp_path.name}, train 3 of 3", f"decoding {tmp_path.name}, val 3 of 3"]


def test_batches_come_in_order_and_again(digits: Any) -> None:
    samples = of_dataset(digits)
    batches = Batches(samples.train, samples.info, 400)
    once, again = list(batches), list(batches)
    assert [len(labels) for _, labels in once] == [400, 400, 99]
    assert torch.equal(torch.cat([inputs for inputs, _ in once]), normalise(digits.train.images, digits.info))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(once, again, strict=True))


MISTAKES = {
    "no array": (lambda a: a.pop("y_test"), r"not an .npz of plain arrays x_train, y_train, x_test, y_test \(.*y_test"),
    "objects": (lambda a: a.update(y_test=np.array([None])), "not an .npz of plain arrays"),
    "whole numbers": (lambda a: a.update(x_test=np.zeros((1, 2, 3, 3), int)), "x_test is int64 .*; make it images"),
    "no images": (lambda a: a.update(x_train=np.zeros((0, 2, 3, 3), np.uint8)), r"x_train is uint8 \[0, 2, 3, 3\]"),
    "labels": (lambda a: a.update(y_train=np.array([0.0, 1.0])), r"y_train is float64 \[2\]; make it whole numbers"),
    "a label": (lambda a: a.update(y_train=np.array([-1, 1])), r"y_train is int64 \[2\]; make it whole numbers from 0"),
    "too few labels": (lambda a: a.update(y_test=np.array([0, 1])), r"y_test is int64 \[2\]; .*, \[1\]"),
    "another size": (lambda a: a.update(x_test=np.zeros((1, 9, 9, 3), np.uint8)), "make their samples of one shape"),
    "another type": (lambda a: a.update(x_test=np.zeros((1, 3, 2, 3), np.float32)), "make their samples of one shape"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "told"), MISTAKES.values(), ids=MISTAKES)
def test_arrays_that_do_not_fit(tmp_path: Path, spoil: Any, told: str) -> None:
    spoil(found := arrays())
    np.savez(tmp_path / "mine.npz", **found)
    with pytest.raises(LmcError, match=told) as caught:
        read_unlisted(tmp_path / "mine.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'mine.npz'}: ") and "\n" not in str(caught.value)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("text")
    with pytest.raises(LmcError, match=r"mine.npz: not an .npz of plain arrays"):
        read_unlisted(tmp_path / "mine.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LmcError, match=r"empty: no images in train/<class>/; put them there"):
        read_unlisted(tmp_path / "empty")
    (tmp_path / "bad" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "bad" / "train" / "cat" / "0.png").write_text("no picture")
    with pytest.raises(LmcError, match=r"0.png: cannot be decoded .*; replace it"):
        read_unlisted(tmp_path / "bad")
