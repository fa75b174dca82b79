"""Barriers of hand-made curves, and the status of an end, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from lmc_repro.barriers import barrier as b
from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve
from lmc_repro.barriers.status import endpoint_status, minimum_accuracy

FLAT = (10,) * 11
CHANCE_TEST = Curve(FLAT, 100, (0.5,) * 11)


def curve(*wrong: int, n: int = 200, loss: tuple[float | None, ...] | None = None) -> Curve:
    return Curve(wrong, n, loss or tuple(w / 100 for w in wrong))


def test_flat_curve() -> None:
    found = barriers({"train": CHANCE_TEST, "test": CHANCE_TEST}, "train", 10)
    assert found.barrier == found.floor == found.line == found.midpoint_excess == found.argmax_alpha == 0.0
    assert found.normalised == found.loss_barrier == 0.0 and found.error_0 == found.error_1 == 10.0


def test_peak_off_the_middle() -> None:
    #            0   .1  .2  .3  .4  .5  .6  .7   .8  .9  1
    c = curve(10, 10, 12, 14, 20, 30, 50, 110, 60, 30, 10)
    found = barriers({"train": c, "test": c}, "train", 10)
    assert found.barrier == found.line == pytest.approx(50.0)  # (110 - 10) / 200
    assert found.midpoint_excess == pytest.approx(10.0)  # (30 - 10) / 200
    assert found.argmax_alpha == 0.7
    assert found.floor == 0.0
    assert found.normalised == pytest.approx(100 * 0.5 / 0.95, abs=1e-9)


def test_better_middle() -> None:
    c = curve(40, 30, 20, 10, 6, 4, 6, 10, 20, 30, 40)
    found = barriers({"train": c, "test": c}, "test", 10)
    assert found.barrier == found.line == found.floor == 0.0  # the ends are the worst points
    assert found.midpoint_excess == pytest.approx(-18.0)  # (4 - 40) / 200
    assert found.argmax_alpha == 0.0


def test_unequal_ends() -> None:
    # A straight slope from 20 to 60 with a bump of 8 at 0.2: the maximum is the worse end.
    wrong = [20 + 4 * i for i in range(11)]
    wrong[2] += 8
    c = curve(*wrong)
    found = barriers({"train": c, "test": c}, "train", 10)
    assert found.barrier == found.floor == pytest.approx(10.0)  # (60 - 40) / 200: Eq. 1 says 10 for no barrier at all
    assert found.line == pytest.approx(4.0)  # 8 / 200
    assert found.midpoint_excess == 0.0
    assert found.argmax_alpha == 1.0
    assert (found.error_0, found.error_1) == pytest.approx((10.0, 30.0))


def test_normalisations_divide_by_what_they_say() -> None:
    train, test = curve(20, 60, 20, n=200), curve(50, 90, 70, n=100)
    found = barriers({"train": train, "test": test}, "train", 5)
    assert found.barrier == pytest.approx(20.0)
    assert found.normalised == pytest.approx(20.0 / 0.4)  # mean test accuracy 1 - (0.5 + 0.7) / 2
    assert found.normalised_own == pytest.approx(20.0 / 0.9)
    assert found.normalised_chance == pytest.approx(20.0 / 0.2)  # 0.4 - 1/5
    test_found = barriers({"train": train, "test": test}, "test", 5)
    assert test_found.barrier == pytest.approx(30.0)  # 90 - 60: train and test are not swapped
    assert test_found.normalised == test_found.normalised_own == pytest.approx(30.0 / 0.4)


def test_normalised_is_none_where_nothing_can_be_lost() -> None:
    bad = curve(90, 95, 90, n=100)
    found = barriers({"train": bad, "test": bad}, "test", 10)
    assert found.normalised_chance is None and found.normalised is not None
    assert b.normalised(3.0, 0.0) is None


def test_loss_barriers_and_a_loss_that_is_not_finite() -> None:
    c = curve(1, 1, 1, 1, 1, loss=(1.0, 2.0, 4.0, 2.5, 2.0))
    found = barriers({"train": c, "test": c}, "train", 10)
    assert (found.loss_barrier, found.loss_floor, found.loss_argmax_alpha) == (2.5, 0.5, 0.5)
    assert found.loss_line == found.loss_midpoint_excess == 2.5
    holed = curve(1, 1, 1, 1, 1, loss=(1.0, None, 4.0, 2.5, 2.0))
    found = barriers({"train": holed, "test": c}, "train", 10)
    assert found.loss_barrier is found.loss_floor is found.loss_line is found.loss_midpoint_excess is None
    assert found.loss_argmax_alpha is None and found.barrier == 0.0


def test_formulas_on_values() -> None:
    # The line barrier can exceed Eq. 1: the ends differ, and the bump is at the better one.
    values = [0.0, 30.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0]
    assert b.mean_barrier(values) == 20.0 and b.line_barrier(values) == 26.0
    for ends in ((0, 50), (50, 0), (13, 13)):
        values = [ends[0], *[1] * 9, ends[1]]
        assert b.mean_barrier(values) >= b.floor(values) >= 0
        assert b.line_barrier(values) >= 0
    assert b.excess([0.1, 0.7, 0.3]) == [0.0, pytest.approx(0.5), 0.0]
    assert b.excess([0.1, 0.0, 0.3]) == [0.0, pytest.approx(-0.2), 0.0]
    assert b.middle([1.0, 5.0, 1.0]) == 4.0 and b.middle([1.0, 5.0, 5.0, 1.0]) is None  # needs an odd number of points
    assert b.argmax_alpha([1.0, 5.0, 5.0, 1.0]) == pytest.approx(1 / 3)  # the first of equals


# Images, those of the largest class, and the status of so many right: 5 sd above the constant predictor is trained.
STATUSES = [
    (
        100,
        50,
        {0: "collapsed", 25: "collapsed", 50: "collapsed", 74: "collapsed", 75: "trained", 100: "trained"},
    ),  # sd 5
    (1000, 100, {147: "collapsed", 148: "trained"}),  # balanced, sd 9.49: above 147.4
    (1000, 400, {148: "collapsed", 477: "collapsed", 478: "trained"}),  # the largest class, not chance; sd 15.49
    (10, 10, {10: "collapsed"}),  # one class cannot be learnt
    (100_000, 500, {7400: "trained", 611: "collapsed", 612: "trained"}),  # Tiny ImageNet: 7.4 % right after two epochs
]


@pytest.mark.parametrize(("n", "largest_class", "expected"), STATUSES)
def test_statuses(n: int, largest_class: int, expected: dict[int, str]) -> None:
    found = {right: endpoint_status(60, None, n - right, n, largest_class) for right in expected}
    assert found == expected


def test_diverged_from_its_epoch_on() -> None:
    found = [endpoint_status(epoch, 5, 10, 100, 10) for epoch in (4, 5, 6)]
    assert found == ["trained", "diverged", "diverged"]
    assert endpoint_status(6, 5, 90, 100, 10) == "diverged"  # a guess after divergence has diverged


def test_halfway_from_chance_to_one() -> None:
    assert minimum_accuracy(10, None) == pytest.approx(0.55)
    assert minimum_accuracy(2, None) == 0.75
    assert minimum_accuracy(10, 0.2) == 0.2
    assert minimum_accuracy(10, 0.0) == 0.0
