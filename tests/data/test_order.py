from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lmc_repro.data.order import epoch_order, epoch_orders, orders_sha256

GOLDEN_START = [600, 943, 941, 201, 408]
GOLDEN = "dd681b21d19ab07e399814cf87e1ef8c6fda6a1b513cf7aa29f438fecf200abc"
GOLDEN_FFCV = "1991731ec67026e4f0768e9e8402811db179dcaa1ef5c99e11f257e70b92ec83"


def test_golden() -> None:
    # If this fails, runs made before have other batches: raise TRAINING_NUMERICS or mend the change.
    order = epoch_order(1000, 7, 3).astype("<i8")
    assert order[:5].tolist() == GOLDEN_START
    assert hashlib.sha256(order.tobytes()).hexdigest() == GOLDEN
    ffcv = epoch_order(1000, 7, 3, "ffcv").astype("<i8")
    assert hashlib.sha256(ffcv.tobytes()).hexdigest() == GOLDEN_FFCV


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
@pytest.mark.parametrize("seeds", [[4], [2, 0, 2, 7, 0], [1, 2, 3]])
def test_orders_of_a_stack_are_those_of_its_seeds_one_by_one(rule: str, seeds: list[int]) -> None:
    orders = epoch_orders(90, seeds, 3, rule)
    assert [row.tolist() for row in orders] == [epoch_order(90, seed, 3, rule).tolist() for seed in seeds]


def test_the_hash_of_a_runs_orders_is_of_each_epochs_seed() -> None:
    orders = [epoch_order(50, seed, epoch) for epoch, seed in enumerate([5, 5, 8])]
    expected = hashlib.sha256(b"".join(order.astype("<u4").tobytes() for order in orders)).hexdigest()
    assert orders_sha256(50, (5, 5, 8), "philox") == expected != orders_sha256(50, (5, 8, 8), "philox")
