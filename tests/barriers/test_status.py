from __future__ import annotations

import pytest

from lmc_repro.barriers.status import endpoint_status, minimum_accuracy


def status(right: int, n: int = 100, largest_class: int = 50) -> str:
    """Return the status of a network that has so many of `n` training images right."""
    return endpoint_status(60, None, n - right, n, largest_class)


def test_exactly_five_standard_deviations_above_the_constant_predictor() -> None:
    # 100 images, half of them of one class: the sd of the constant predictor is 5 images, so that 75 right are enough.
    assert [status(right) for right in (0, 50, 74, 75, 100)] == ["collapsed"] * 3 + ["trained"] * 2


def test_the_constant_predictor_is_that_of_the_largest_class_not_of_chance() -> None:
    # 1000 images of ten classes. Balanced, the sd is sqrt(90) = 9.49: 147 are not above 147.4, 148 are. With 400 of one
    # class it is sqrt(240) = 15.49: 477 are not above 477.5, 478 are, though 148 were far above chance.
    assert [status(right, 1000, 100) for right in (147, 148)] == ["collapsed", "trained"]
    assert [status(right, 1000, 400) for right in (148, 477, 478)] == ["collapsed", "collapsed", "trained"]


def test_worse_than_the_constant_predictor_is_collapsed() -> None:
    # As far below as 75 of 100 is above: a distance without a sign would do.
    assert status(25) == "collapsed"


def test_one_class_cannot_be_learnt() -> None:
    assert status(10, 10, 10) == "collapsed"


def test_few_right_answers_among_many_images_are_a_trained_network() -> None:
    # Tiny ImageNet: 100,000 images of 200 classes, sd 22.3 images. 7.4 % right after two epochs; 0.6 % is a guess.
    assert [status(right, 100_000, 500) for right in (7400, 611, 612)] == ["trained", "collapsed", "trained"]


def test_diverged_from_its_epoch_on() -> None:
    found = [endpoint_status(epoch, 5, 10, 100, 10) for epoch in (4, 5, 6)]
    assert found == ["trained", "diverged", "diverged"]
    assert endpoint_status(6, 5, 90, 100, 10) == "diverged"  # a guess after divergence has diverged


def test_halfway_from_chance_to_one() -> None:
    assert minimum_accuracy(10, None) == pytest.approx(0.55)
    assert minimum_accuracy(2, None) == 0.75
    assert minimum_accuracy(10, 0.2) == 0.2
    assert minimum_accuracy(10, 0.0) == 0.0
