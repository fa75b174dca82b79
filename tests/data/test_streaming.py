from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import children

from lmc_repro.data.batch import StackLoader
from lmc_repro.data.beton import read_beton, write_beton
from lmc_repro.data.dataset import Dataset, Split
from lmc_repro.data.loader import open_loader
from lmc_repro.errors import LmcError

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_same_batches(one: StackLoader, other: StackLoader, epoch: int, start_step: int = 0) -> None:
    steps = 0
    for a, b in zip(one.epoch(epoch, start_step), other.epoch(epoch, start_step), strict=True):
        assert [part.dtype for part in a] == [part.dtype for part in b] == [torch.uint8, torch.int64, torch.int64]
        assert all(torch.equal(part, part2) for part, part2 in zip(a, b, strict=True))
        steps += 1
    assert steps == one.steps_per_epoch - start_step == other.steps_per_epoch - start_step


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("seeds", "batch", "drop_last", "rule"),
    [((0, 1, 5), 64, False, "philox"), ((3,), 449, True, "philox"), ((2, 0), 899, False, "ffcv")],
)
def test_same_bits_as_resident(digits, prepared, workers, seeds, batch, drop_last, rule) -> None:  # type: ignore[no-untyped-def]
    both = [
        open_loader(kind, digits, prepared, children(*seeds), batch, drop_last, rule, workers)
        for kind in ("resident", "ffcv")
    ]
    # Not in ffcv's own counting: it would call these epochs 0 to 3.
    for epoch in (7, 0, 1, 7):
        assert_same_batches(both[0], both[1], epoch)
    assert_same_batches(both[0], both[1], 1, start_step=both[0].steps_per_epoch // 2)
    assert list(both[1].epoch(0, both[1].steps_per_epoch)) == []


@pytest.mark.slow
def test_same_bits_with_more_workers_than_cores(prepared: Path) -> None:
    script = f"""
from pathlib import Path
import torch
torch.set_num_threads(1)
from lmc_repro.data.dataset import load_dataset
from lmc_repro.data.loader import open_loader
from lmc_repro.schemas.seeds import Seeds
prepared = Path({str(prepared)!r})
digits = load_dataset(prepared, "digits")
seeds = [Seeds(trainer=0, loader=0), Seeds(trainer=0, loader=1)]
both = [open_loader(kind, digits, prepared, seeds, 64, False, "philox", 4) for kind in ("resident", "ffcv")]
assert both[1]._loader.num_workers == 4
for epoch in range(2):
    for a, b in zip(both[0].epoch(epoch), both[1].epoch(epoch), strict=True):
        assert all(map(torch.equal, a, b)) and torch.get_num_threads() == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "NUMBA_NUM_THREADS": "4"})


@pytest.mark.parametrize(("threads", "workers"), [(1, 2), (2, 1)])
def test_torch_keeps_its_threads(digits: Dataset, prepared: Path, threads: int, workers: int) -> None:
    torch.set_num_threads(threads)
    loader = open_loader("ffcv", digits, prepared, children(0), 100, False, "philox", workers)
    assert torch.get_num_threads() == threads
    for _ in loader.epoch(0):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == threads


def test_global_generators_are_left_alone(digits: Dataset, prepared: Path) -> None:
    of_numpy, of_torch = np.random.get_state()[1].copy(), torch.get_rng_state()
    for _ in open_loader("ffcv", digits, prepared, children(0), 100, False, "philox").epoch(0):
        pass
    assert np.array_equal(of_numpy, np.random.get_state()[1])
    assert torch.equal(of_torch, torch.get_rng_state())


def test_an_epoch_left_early_leaves_no_thread(digits: Dataset, prepared: Path) -> None:
    loader = open_loader("ffcv", digits, prepared, children(0), 10, False, "philox")
    before = threading.active_count()
    batches = loader.epoch(0)
    next(batches)
    assert threading.active_count() > before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_damaged_or_foreign_file_is_refused(digits: Dataset, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "digits", tmp_path / "digits")
    path = tmp_path / "digits" / "train.beton"
    content = bytearray(path.read_bytes())
    content[2 << 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(LmcError, match=r"train.beton: its sha256 .*lmc prepare digits"):
        open_loader("ffcv", digits, tmp_path, children(0), 64, False, "philox")
    path.unlink()
    with pytest.raises(LmcError, match=r"train.beton: no such file; run `lmc prepare digits`"):
        open_loader("ffcv", digits, tmp_path, children(0), 64, False, "philox")
    other = Dataset(digits.info, digits.train, digits.test, "0" * 64)
    with pytest.raises(LmcError, match=r"prepared from other arrays"):
        open_loader("ffcv", other, prepared, children(0), 64, False, "philox")


def test_a_dead_loading_thread_is_an_error(digits: Dataset, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = open_loader("ffcv", digits, prepared, children(0), 64, False, "philox")
    from ffcv.loader.epoch_iterator import EpochIterator

    monkeypatch.setattr(EpochIterator, "run", lambda self: None)
    with pytest.raises(LmcError, match="loading thread failed"):
        next(iter(loader.epoch(0)))


def test_missing_ffcv_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ffcv", None)
    with pytest.raises(LmcError, match=r"^ffcv cannot be imported .*`loader: resident`.*$"):
        write_beton(tmp_path / "x.beton", Split(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1).long()))


def test_beton_holds_colour_images_over_several_pages(tmp_path: Path) -> None:
    images = (torch.arange(3 * 3 * 600 * 600) % 251).to(torch.uint8).reshape(3, 3, 600, 600)
    split = Split(images, torch.tensor([2, 0, 1]))
    write_beton(tmp_path / "x.beton", split)
    back = read_beton(tmp_path / "x.beton")
    assert torch.equal(back.images, images) and torch.equal(back.labels, split.labels)
    write_beton(tmp_path / "y.beton", split)
    assert (tmp_path / "x.beton").read_bytes() == (tmp_path / "y.beton").read_bytes()
