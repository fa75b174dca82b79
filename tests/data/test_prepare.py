from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import contents

import lmc_repro.data.prepare as module
from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.data.beton import read_beton
from lmc_repro.data.dataset import Dataset, Split, data_digest, load_dataset
from lmc_repro.data.prepare import prepare
from lmc_repro.data.readers import stratified_half
from lmc_repro.data.status import ffcv_installed, note_unused

DIGITS_DIGEST = "674b5104ace9494e18dc12f4b31460816d3131f8b9435cf428237fd4f9434829"
FIELDS = ("images", "labels")
FILES = {"status.json", "train.beton", "test.beton", "train.safetensors", "test.safetensors"}


def folders(prepared: Path) -> list[str]:
    return sorted(path.name for path in prepared.iterdir() if path.is_dir())


def test_digits_are_the_whole_in_two_stratified_halves(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    def rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
        flat = images.reshape(len(images), 64).astype(np.uint8)
        return sorted(flat[i].tobytes() + bytes([labels[i]]) for i in range(len(flat)))

    assert (len(digits.train), len(digits.test)) == (899, 898) and int(digits.train.images.max()) == 16
    assert digits.digest == data_digest(digits.train, digits.test) == DIGITS_DIGEST
    counts = [torch.bincount(split.labels, minlength=10) for split in (digits.train, digits.test)]
    assert int((counts[0] - counts[1]).abs().max()) <= 1
    images, labels = (torch.cat([getattr(half, of) for half in (digits.train, digits.test)]) for of in FIELDS)
    whole = load_digits()
    assert rows(images.numpy(), labels.numpy()) == rows(whole.images, whole.target)


def test_stratified_half_is_balanced_and_random() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 2, 2] * 5)
    half = stratified_half(labels, seed=0)
    assert half.sum() == 20
    assert all(abs((labels[half] == label).sum() - (labels[~half] == label).sum()) <= 1 for label in range(3))
    assert (half != stratified_half(labels, seed=1)).any()
    assert (half == stratified_half(labels, seed=0)).all()


def test_equal_bytes_on_repeat_and_equal_arrays_in_both_forms(prepared: Path, digits: Dataset, tmp_path: Path) -> None:
    status = prepare("digits", tmp_path / "again", tmp_path / "raw", None)
    first, second = contents(prepared / "digits"), contents(tmp_path / "again" / "digits")
    assert set(first) == FILES and first == second
    assert json.loads(second["status.json"]) == status
    assert str(tmp_path) not in second["status.json"].decode()
    assert load_dataset(prepared, "digits").digest == digits.digest
    streamed = [read_beton(prepared / "digits" / f"{split}.beton") for split in ("train", "test")]
    assert data_digest(*streamed) == digits.digest


def test_ready_is_left_alone_and_damage_is_fixed(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    out, raw = tmp_path / "prepared", tmp_path / "raw"
    leftover = out / ".tiny.tmp-killed"  # of a killed process
    leftover.mkdir(parents=True)
    (leftover / "train.beton").write_bytes(b"half")
    status = prepare("tiny", out, raw, mirror, info=tiny)
    dataset = load_dataset(out, "tiny", tiny)
    assert torch.equal(dataset.train.images, (torch.arange(140) * 13 % 256).to(torch.uint8).reshape(7, 1, 5, 4))
    assert dataset.test.labels.tolist() == [0, 1, 2, 0, 1]
    before, times = contents(out / "tiny"), {path.name: path.stat().st_mtime_ns for path in (out / "tiny").iterdir()}
    assert prepare("tiny", out, raw, mirror, info=tiny) == status
    assert {path.name: path.stat().st_mtime_ns for path in (out / "tiny").iterdir()} == times
    damaged = out / "tiny" / "test.beton"
    for damage in ("truncated", "missing", "status"):
        if damage == "status":
            damaged = out / "tiny" / "status.json"
        damaged.unlink() if damage == "missing" else damaged.write_bytes(damaged.read_bytes()[:-5])
        assert prepare("tiny", out, raw, mirror, info=tiny) == status
        assert contents(out / "tiny") == before and folders(out) == ["tiny"]


def test_unused_and_absent_end_well(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    out, raw = tmp_path / "prepared", tmp_path / "raw"
    assert note_unused("tiny", out)["state"] == "unused"
    assert set(contents(out / "tiny")) == {"status.json"} and not raw.exists()
    absent = prepare("tiny", out, raw, None, info=tiny)
    assert absent["state"] == "absent" and "LMC_DATA_MIRROR" in absent["reason"]
    assert set(contents(out / "tiny")) == {"status.json"}
    with pytest.raises(LmcError, match="tiny is absent: Tiny could not be downloaded"):
        load_dataset(out, "tiny", tiny)
    assert prepare("tiny", out, raw, mirror, info=tiny)["state"] == "ready"
    assert set(contents(out / "tiny")) == FILES
    assert note_unused("tiny", out)["state"] == "unused"
    assert set(contents(out / "tiny")) == {"status.json"}
    assert folders(out) == ["tiny"]


def test_a_mistake_leaves_the_folder_as_it_was(
    tiny: DatasetInfo, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, raw = tmp_path / "prepared", tmp_path / "raw"
    note_unused("tiny", out)
    before = contents(out / "tiny")
    truncated = mirror / tiny.folder / tiny.files[3].name
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[:-3])
    with pytest.raises(LmcError, match=r"t10k-labels-idx1-ubyte.gz: .* bytes, expected"):
        prepare("tiny", out, raw, mirror, info=tiny)
    assert contents(out / "tiny") == before and folders(out) == ["tiny"]

    truncated.write_bytes(whole)
    written: list[Path] = []

    def full_disk(path: Path, split: Split) -> None:
        path.write_bytes(b"half")
        written.append(path)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "write_beton", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare("tiny", out, raw, mirror, info=tiny)
    assert written and contents(out / "tiny") == before and folders(out) == ["tiny"]


def test_without_ffcv_one_form_is_written_and_the_other_added_once_it_is_there(
    tiny: DatasetInfo, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, raw = tmp_path / "prepared", tmp_path / "raw"
    with monkeypatch.context() as hidden:
        hidden.setitem(sys.modules, "ffcv", None)
        assert not ffcv_installed()
        bare = prepare("tiny", out, raw, mirror, info=tiny)
        before = contents(out / "tiny")
        assert set(before) == {"status.json", "train.safetensors", "test.safetensors"}
        assert prepare("tiny", out, raw, mirror, info=tiny) == bare and contents(out / "tiny") == before
    both = prepare("tiny", out, raw, mirror, info=tiny)
    after = contents(out / "tiny")
    assert after.keys() - before.keys() == {"train.beton", "test.beton"} and both["digest"] == bare["digest"]
    monkeypatch.setitem(sys.modules, "ffcv", None)  # files from elsewhere stay
    assert prepare("tiny", out, raw, mirror, info=tiny) == both and contents(out / "tiny") == after


def test_streamed_file_with_other_arrays_is_refused(
    tiny: DatasetInfo, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(path: Path) -> Split:
        split = read_beton(path)
        return Split(split.images.flip(0), split.labels)

    monkeypatch.setattr(module, "read_beton", swapped)
    with pytest.raises(LmcError, match="ffcv reads back other arrays"):
        prepare("tiny", tmp_path / "prepared", tmp_path / "raw", mirror, info=tiny)
    assert folders(tmp_path / "prepared") == []


def test_arrays_other_than_the_catalogs_are_refused(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    other = replace(tiny, digest="0" * 64)
    with pytest.raises(LmcError, match=r"decoded arrays have digest .*, expected 0000"):
        prepare("tiny", tmp_path / "prepared", tmp_path / "raw", mirror, info=other)
    for wrong, message in (
        (replace(tiny, n_train=8), r"train: .*\[7, 1, 5, 4\], expected torch.uint8 \[8, 1, 5, 4\]"),
        (replace(tiny, classes=2), "labels go from 0 to 2, expected 0 to 1"),
    ):
        with pytest.raises(LmcError, match=message):
            prepare("tiny", tmp_path / "prepared", tmp_path / "raw", mirror, info=wrong)
