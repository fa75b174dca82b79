"""Batches of both loaders: the orders of the seeds, the same bits, and nothing of the process moved by ffcv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import children
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.config.run import EarlyNoise, Seeds
from lmc_repro.data.beton import read_beton, write_beton
from lmc_repro.data.dataset import Dataset, Split
from lmc_repro.data.loaders import StackLoader, open_loader
from lmc_repro.data.order import epoch_order


def resident(digits: Dataset, seeds: list[int], batch: int, drop_last: bool = False) -> StackLoader:
    return open_loader("resident", digits, Path("unused"), children(*seeds), batch, drop_last, "philox")


def whole_epoch(loader: StackLoader, epoch: int) -> list[Tensor]:
    batches = [[part.clone() for part in batch] for batch in loader.epoch(epoch)]
    return [torch.cat(parts, 1) for parts in zip(*batches, strict=True)]


@pytest.mark.parametrize(("seeds", "batch"), [([0, 7], 64), ([3], 449), ([3], 1), ([3, 1, 2], 100)])
def test_a_run_has_the_order_of_its_seed_whatever_batch_size_and_mates(
    seeds: list[int], batch: int, digits: Dataset
) -> None:
    images, labels, indices = whole_epoch(resident(digits, seeds, batch), 4)
    assert images.shape == (len(seeds), 899, 1, 8, 8)
    for run, seed in enumerate(seeds):
        order = torch.from_numpy(epoch_order(899, seed, 4))
        assert torch.equal(indices[run], order)
        assert torch.equal(images[run], digits.train.images[order])
        assert torch.equal(labels[run], digits.train.labels[order])


def test_early_noise_orders_the_first_epochs(digits: Dataset) -> None:
    shared = Seeds(trainer=0, loader=7, early=EarlyNoise(until=2, loader=0))
    loader = open_loader("resident", digits, Path("unused"), [shared, *children(0, 7)], 64, False, "philox")
    for epoch, like in enumerate((1, 1, 2, 2)):
        _, labels, _ = whole_epoch(loader, epoch)
        assert torch.equal(labels[0], labels[like]) and not torch.equal(labels[1], labels[2])


@pytest.mark.parametrize(
    ("batch", "drop_last", "sizes"), [(64, False, [64] * 14 + [3]), (64, True, [64] * 14), (5000, False, [899])]
)
def test_sizes_of_batches(digits: Dataset, batch: int, drop_last: bool, sizes: list[int]) -> None:
    loader = resident(digits, [0], batch, drop_last)
    assert loader.steps_per_epoch == len(sizes)
    assert [labels.shape[1] for _, labels, _ in loader.epoch(0)] == sizes


def test_batch_sizes_that_leave_no_batch(digits: Dataset) -> None:
    for batch, drop_last in ((5000, True), (0, False)):
        with pytest.raises(LmcError, match=f"batch size {batch}"):
            resident(digits, [0], batch, drop_last)


@pytest.mark.parametrize(
    ("workers", "seeds", "batch", "drop_last", "rule"),
    [
        (2, (0, 1, 5), 64, False, "philox"),
        (1, (2, 0), 899, False, "ffcv"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (1, (0, 1, 5), 64, False, "philox"),
                (1, (3,), 449, True, "philox"),
                (2, (3,), 449, True, "philox"),
                (2, (2, 0), 899, False, "ffcv"),
            )
        ),
    ],
)
def test_same_bits_as_resident(
    digits: Dataset, prepared: Path, workers: int, seeds: tuple[int, ...], batch: int, drop_last: bool, rule: Any
) -> None:
    one, other = (
        open_loader(kind, digits, prepared, children(*seeds), batch, drop_last, rule, workers)
        for kind in ("resident", "ffcv")
    )
    for epoch in (7, 0, 1, 7):  # not in ffcv's own counting: it would call these epochs 0 to 3
        steps = 0
        for a, b in zip(one.epoch(epoch), other.epoch(epoch), strict=True):
            assert [part.dtype for part in a] == [part.dtype for part in b] == [torch.uint8, torch.int64, torch.int64]
            assert all(map(torch.equal, a, b))
            steps += 1
        assert steps == one.steps_per_epoch == other.steps_per_epoch


@pytest.mark.slow
def test_same_bits_with_more_workers_than_cores(prepared: Path) -> None:
    script = f"""
from pathlib import Path
import torch
torch.set_num_threads(1)
from helpers import children, read_digits
from lmc_repro.data.loaders import open_loader
prepared, digits = Path({str(prepared)!r}), read_digits()
both = [open_loader(kind, digits, prepared, children(0, 1), 64, False, "philox", 4) for kind in ("resident", "ffcv")]
assert both[1]._loader.num_workers == 4
for epoch in range(2):
    for a, b in zip(both[0].epoch(epoch), both[1].epoch(epoch), strict=True):
        assert all(map(torch.equal, a, b)) and torch.get_num_threads() == 1
"""
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "NUMBA_NUM_THREADS": "4", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


@pytest.mark.parametrize(("threads", "workers"), [(1, 2), (2, 1)])
def test_torch_keeps_its_threads_and_global_generators_their_state(
    digits: Dataset, prepared: Path, threads: int, workers: int
) -> None:
    torch.set_num_threads(threads)
    of_numpy, of_torch = np.random.get_state()[1].copy(), torch.get_rng_state()
    loader = open_loader("ffcv", digits, prepared, children(0), 100, False, "philox", workers)
    assert torch.get_num_threads() == threads
    for _ in loader.epoch(0):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == threads
    assert np.array_equal(of_numpy, np.random.get_state()[1]) and torch.equal(of_torch, torch.get_rng_state())


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
