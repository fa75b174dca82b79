from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import dataset_info
from lmc_repro.data.dataset import Dataset, Split, data_digest, load_dataset, normalise


def split(n: int = 4, value: int = 0) -> Split:
    return Split(torch.full((n, 1, 2, 3), value, dtype=torch.uint8), torch.arange(n) % 10)


def test_digest_sees_values_shapes_labels_and_which_split() -> None:
    one, other = split(), split(value=1)
    digests = {
        data_digest(one, other),
        data_digest(other, one),
        data_digest(one, split(value=2)),
        data_digest(one, replace(other, labels=other.labels + 1)),
        data_digest(one, replace(other, images=other.images.reshape(4, 1, 3, 2))),
        data_digest(one, replace(other, labels=other.labels.to(torch.int32))),
    }
    assert len(digests) == 6
    assert data_digest(split(), split(value=1)) in digests
    # Not the memory layout.
    images = torch.arange(24, dtype=torch.uint8).reshape(4, 1, 2, 3)
    strided = replace(one, images=images.transpose(2, 3).contiguous().transpose(2, 3))
    assert not strided.images.is_contiguous()
    assert data_digest(replace(one, images=images), other) == data_digest(strided, other)


def test_normalise_is_two_rounded_operations() -> None:
    info = dataset_info("mnist")
    values = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    scale, shift = np.float32(1 / (255 * 0.3081)), np.float32(-0.1307 / 0.3081)
    expected = (np.arange(256).astype(np.float32) * scale) + shift
    assert np.array_equal(normalise(values, info).numpy().ravel(), expected)
    exact = (np.arange(256) / 255 - 0.1307) / 0.3081
    assert np.allclose(expected, exact, atol=5e-7)


def test_normalise_gives_an_image_the_same_bits_in_any_batch(digits: Dataset) -> None:
    images, info = digits.train.images[:30], digits.info
    alone = torch.stack([normalise(image, info) for image in images])
    assert torch.equal(alone, normalise(images, info))
    assert torch.equal(alone, normalise(images.view(5, 3, 2, 1, 8, 8), info).view(30, 1, 8, 8))
    buffer = torch.full((30, 1, 8, 8), torch.nan)
    assert normalise(images, info, out=buffer) is buffer
    assert torch.equal(alone, buffer)


def test_normalise_has_a_map_for_each_channel() -> None:
    info = replace(dataset_info("mnist"), shape=(3, 1, 1), mean=(0.0, 0.5, 0.25), std=(1.0, 0.5, 0.25))
    images = torch.tensor([0, 255, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert torch.allclose(normalise(images, info).ravel(), torch.tensor([0.0, 1.0, 3.0]))


def test_digits_constants_are_those_of_the_training_half(digits: Dataset) -> None:
    values = digits.train.images.double() / 16
    assert abs(values.mean().item() - digits.info.mean[0]) < 5e-5
    assert abs(values.std(correction=0).item() - digits.info.std[0]) < 5e-5


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, "mnist is not prepared; run `lmc prepare mnist`"),
        ('{"state": "absent", "reason": "no network"}', "mnist is absent: no network"),
        ('{"state": "rea', "status.json: cannot be read"),
        ('{"state": "other"}', "status.json: is not a status"),
    ],
)
def test_a_data_set_that_is_not_ready_gives_its_reason(tmp_path: Path, status: str | None, told: str) -> None:
    if status is not None:
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "status.json").write_text(status)
    with pytest.raises(LmcError) as caught:
        load_dataset(tmp_path, "mnist")
    assert told in str(caught.value)


def test_changed_arrays_are_noticed(prepared: Path, digits: Dataset, tmp_path: Path) -> None:
    shutil.copytree(prepared / "digits", tmp_path / "digits")
    path = tmp_path / "digits" / "train.safetensors"
    images = digits.train.images.clone()
    images[5, 0, 3, 3] ^= 1
    for damage, told in (
        (lambda: save_file({"images": images, "labels": digits.train.labels}, path), "the arrays have digest"),
        (lambda: save_file({"images": images[1:], "labels": digits.train.labels[1:]}, path), "[898, 1, 8, 8], expec"),
        (lambda: path.write_bytes(path.read_bytes()[:1000]), "train.safetensors: cannot be read"),
        (lambda: path.unlink(), "train.safetensors: cannot be read"),
    ):
        damage()
        with pytest.raises(LmcError, match=r"lmc prepare digits") as caught:
            load_dataset(tmp_path, "digits")
        assert told in str(caught.value)
