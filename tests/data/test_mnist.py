from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from helpers import children

from lmc_repro.data.dataset import load_dataset, normalise
from lmc_repro.data.loader import open_loader
from lmc_repro.data.prepare import prepare

MIRROR = os.environ.get("LMC_DATA_MIRROR", "")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not (Path(MIRROR or "/nonexistent") / "MNIST").is_dir(), reason="LMC_DATA_MIRROR holds no MNIST")
def test_mnist_from_the_mirror(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    status = prepare("mnist", prepared, tmp_path / "raw", Path(MIRROR))
    assert status["digest"] == "0fcbaaf0b960cd9364b37d51efda55428f841471b1c3e74b34150fcd3241bbb0"
    mnist = load_dataset(prepared, "mnist")
    assert mnist.train.images.shape == (60000, 1, 28, 28) and mnist.test.images.shape == (10000, 1, 28, 28)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9] and mnist.test.labels[:3].tolist() == [7, 2, 1]
    assert int(mnist.train.images[0].sum()) == 27525  # a 5
    normal = normalise(mnist.train.images, mnist.info)
    assert abs(normal.mean().item()) < 1e-3 and abs(normal.std().item() - 1) < 1e-3

    both = [
        open_loader(kind, mnist, prepared, children(0, 1), 1024, False, "philox", 2) for kind in ("resident", "ffcv")
    ]
    last = 0
    for a, b in zip(both[0].epoch(3), both[1].epoch(3), strict=True):
        assert all(torch.equal(part, part2) for part, part2 in zip(a, b, strict=True))
        last = a.labels.shape[1]
    assert last == 60000 % 1024
