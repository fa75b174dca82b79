"""Orders and label noise: drawn from their key and from nothing else.

If a golden hash fails, runs made before had other batches or labels: raise TRAINING_NUMERICS or fix the change."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import tiny_dataset

from lmc_repro.data.dataset import noisy_labels, with_label_noise
from lmc_repro.data.order import epoch_order, epoch_orders, orders_sha256

GOLDEN_START = [600, 943, 941, 201, 408]


GOLDEN = "dd681b21d19ab07e399814cf87e1ef8c6fda6a1b513cf7aa29f438fecf200abc"
GOLDEN_FFCV = "1991731ec67026e4f0768e9e8402811db179dcaa1ef5c99e11f257e70b92ec83"
GOLDEN_LABELS = "ac166d099da043ab69e0ee053ba77d556ad30546761fa617c6e626785c4cc189"


def test_golden() -> None:
    order = epoch_order(1000, 7, 3).astype("<i8")
    assert order[:5].tolist() == GOLDEN_START
    ffcv = epoch_order(1000, 7, 3, "ffcv").astype("<i8")
    labels = noisy_labels(labels_of(899, 10), 10, 0.2).astype("<i8")
    found = [hashlib.sha256(values.tobytes()).hexdigest() for values in (order, ffcv, labels)]
    assert found == [GOLDEN, GOLDEN_FFCV, GOLDEN_LABELS]


def test_is_a_permutation_and_differs_between_seeds_and_epochs() -> None:
    orders = [epoch_order(500, seed, epoch) for seed in range(4) for epoch in range(4)]
    for order in orders:
        assert order.dtype == np.int64
        assert np.array_equal(np.sort(order), np.arange(500))
    assert len({order.tobytes() for order in orders}) == 16


def test_ffcv_rule_shares_orders_between_seeds_and_ours_does_not() -> None:
    for epoch in range(5):
        assert np.array_equal(epoch_order(100, 0, epoch + 1, "ffcv"), epoch_order(100, 1, epoch, "ffcv"))
        assert not np.array_equal(epoch_order(100, 0, epoch + 1), epoch_order(100, 1, epoch))


def test_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()
    epoch_order(100, 0, 0)
    epoch_order(100, 0, 0, "ffcv")
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("rule", ["philox", "ffcv"])
@pytest.mark.parametrize("seeds", [[4], [2, 0, 2, 7, 0], [1, 2, 2**40]])
def test_orders_of_a_stack_are_those_of_its_seeds_one_by_one(rule: str, seeds: list[int]) -> None:
    orders = epoch_orders(90, seeds, 3, rule)
    assert orders.dtype == torch.int64
    assert [row.tolist() for row in orders] == [epoch_order(90, seed, 3, rule).tolist() for seed in seeds]


def test_the_hash_of_a_runs_orders_is_of_each_epochs_seed() -> None:
    orders = [epoch_order(50, seed, epoch) for epoch, seed in enumerate([5, 5, 8])]
    expected = hashlib.sha256(b"".join(order.astype("<u4").tobytes() for order in orders)).hexdigest()
    assert orders_sha256(50, (5, 5, 8), "philox") == expected != orders_sha256(50, (5, 8, 8), "philox")


def labels_of(n: int, classes: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) % classes


@pytest.mark.parametrize(("n", "classes", "share", "count"), [(899, 10, 0.1, 90), (53, 4, 0.5, 26), (53, 4, 0.99, 52)])
def test_exactly_so_many_labels_are_replaced_by_another_class(n: int, classes: int, share: float, count: int) -> None:
    clean = labels_of(n, classes)
    noisy = noisy_labels(clean, classes, share)
    assert (noisy != clean).sum() == count and noisy.dtype == np.int64
    assert noisy.min() >= 0 and noisy.max() < classes
    assert np.array_equal(clean, labels_of(n, classes))


def test_every_other_class_is_as_likely_a_wrong_label() -> None:
    for of in range(4):  # whatever the true class is
        noisy = noisy_labels(np.full(20_000, of), 4, 0.6)
        counts = np.bincount(noisy, minlength=4)
        assert counts[of] == 8000
        assert np.all(np.abs(np.delete(counts, of) / 4000 - 1) < 0.06)


def test_which_labels_does_not_depend_on_them_or_go_by_place() -> None:
    changed = noisy_labels(labels_of(20_000, 10), 10, 0.3) != labels_of(20_000, 10)
    constant = np.full(20_000, 3)
    assert np.array_equal(noisy_labels(constant, 10, 0.3) != constant, changed)
    assert np.all(np.abs(changed.reshape(10, 2000).mean(1) - 0.3) < 0.05)
    other = noisy_labels(labels_of(20_000, 4), 4, 0.3) != labels_of(20_000, 4)
    assert 0.2 < (changed & other).sum() / 6000 < 0.4  # other classes, other draws


def test_noisy_labels_are_nested() -> None:
    clean = labels_of(899, 10)
    noisy = [noisy_labels(clean, 10, share) for share in (0.0, 0.1, 0.2, 0.4)]
    assert np.array_equal(noisy[0], clean)
    for few, more in pairwise(noisy):
        changed = few != clean
        assert np.array_equal(more[changed], few[changed])


def test_noise_is_in_training_labels_only_and_the_digest_that_of_the_clean_data() -> None:
    clean = tiny_dataset()
    noisy = with_label_noise(clean, 0.25)
    assert (noisy.train.labels != clean.train.labels).sum() == 13
    assert noisy.train.images is clean.train.images and noisy.test is clean.test
    assert noisy.digest == clean.digest and torch.equal(clean.train.labels, tiny_dataset().train.labels)
    assert with_label_noise(clean, 0.0) is clean
