from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import children
from torch import Tensor

from lmc_repro.data.batch import StackLoader
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.loader import open_loader
from lmc_repro.data.order import epoch_order
from lmc_repro.errors import LmcError
from lmc_repro.schemas.seeds import EarlyNoise, Seeds


def resident(digits: Dataset, seeds: list[int], batch: int, drop_last: bool = False) -> StackLoader:
    return open_loader("resident", digits, Path("unused"), children(*seeds), batch, drop_last, "philox")


def whole_epoch(loader: StackLoader, epoch: int, start_step: int = 0) -> tuple[Tensor, Tensor]:
    batches = [(images.clone(), labels.clone()) for images, labels, _ in loader.epoch(epoch, start_step)]
    return torch.cat([images for images, _ in batches], 1), torch.cat([labels for _, labels in batches], 1)


def test_gathers_each_childs_order(digits: Dataset) -> None:
    loader = resident(digits, [0, 7], 64)
    images, labels = whole_epoch(loader, 4)
    indices = torch.cat([batch.indices for batch in loader.epoch(4)], 1)
    assert loader.steps_per_epoch == 15 and images.shape == (2, 899, 1, 8, 8)
    for child, seed in enumerate((0, 7)):
        order = torch.from_numpy(epoch_order(899, seed, 4))
        assert torch.equal(indices[child], order)
        assert torch.equal(images[child], digits.train.images[order])
        assert torch.equal(labels[child], digits.train.labels[order])


def test_early_noise_orders_the_first_epochs(digits: Dataset) -> None:
    shared = Seeds(trainer=0, loader=7, early=EarlyNoise(until=2, loader=0))
    loader = open_loader("resident", digits, Path("unused"), [shared, *children(0, 7)], 64, False, "philox")
    for epoch, like in enumerate((1, 1, 2, 2)):
        _, labels = whole_epoch(loader, epoch)
        assert torch.equal(labels[0], labels[like]) and not torch.equal(labels[1], labels[2])


def test_last_batch_and_drop_last(digits: Dataset) -> None:
    sizes = [labels.shape[1] for _, labels, _ in resident(digits, [0], 64).epoch(0)]
    assert sizes == [64] * 14 + [3]
    sizes = [labels.shape[1] for _, labels, _ in resident(digits, [0], 64, drop_last=True).epoch(0)]
    assert sizes == [64] * 14


def test_a_batch_beyond_the_set_is_the_set(digits: Dataset) -> None:
    assert whole_epoch(resident(digits, [0], 5000), 0)[1].shape == (1, 899)
    with pytest.raises(LmcError, match="batch size 5000 with drop_last"):
        resident(digits, [0], 5000, drop_last=True)
    with pytest.raises(LmcError, match="batch size 0"):
        resident(digits, [0], 0)


def test_order_does_not_depend_on_batch_size_or_mates(digits: Dataset) -> None:
    reference = whole_epoch(resident(digits, [3], 64), 1)
    for seeds, batch in (([3], 449), ([3], 1), ([3, 1, 2], 100)):
        images, labels = whole_epoch(resident(digits, seeds, batch), 1)
        assert torch.equal(images[:1], reference[0]) and torch.equal(labels[:1], reference[1])


def test_resumes_in_the_middle_of_an_epoch(digits: Dataset) -> None:
    loader = resident(digits, [3, 4], 64)
    images, labels = whole_epoch(loader, 2)
    rest_images, rest_labels = whole_epoch(loader, 2, start_step=5)
    assert torch.equal(rest_images, images[:, 5 * 64 :]) and torch.equal(rest_labels, labels[:, 5 * 64 :])
    assert list(loader.epoch(2, start_step=15)) == []


def test_seeds_give_independent_orders(digits: Dataset) -> None:
    _, labels = whole_epoch(resident(digits, [0, 1], 64), 0)
    _, next_labels = whole_epoch(resident(digits, [0, 1], 64), 1)
    rows = [*labels, *next_labels]
    agreement = [float((a == b).double().mean()) for i, a in enumerate(rows) for b in rows[:i]]
    assert np.max(agreement) < 0.2  # chance is 0.1
