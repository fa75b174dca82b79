from __future__ import annotations

import pytest

from lmc_repro.barriers.status import endpoint_status, minimum_accuracy


def test_halfway_from_chance_to_one() -> None:
    assert minimum_accuracy(10, None) == pytest.approx(0.55)
    assert minimum_accuracy(2, None) == 0.75
    assert minimum_accuracy(10, 0.2) == 0.2


def test_statuses() -> None:
    assert endpoint_status(60, None, 0.44, 10, None) == "trained"
    assert endpoint_status(60, None, 0.46, 10, None) == "undertrained"
    assert endpoint_status(60, None, 0.46, 10, 0.5) == "trained"
    assert endpoint_status(60, 3, 0.0, 10, None) == "diverged"


def test_diverged_from_its_epoch_on() -> None:
    assert [endpoint_status(epoch, 5, 0.1, 10, None) for epoch in (4, 5, 6)] == ["trained", "diverged", "diverged"]


def test_constant_predictor_is_not_trained() -> None:
    # Always class 0 on balanced classes: error 0.9, barrier 0 with any copy of itself.
    assert endpoint_status(60, None, 0.9, 10, None) == "undertrained"
