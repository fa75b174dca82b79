"""Verdicts on hand-made pairs; every number here is an error count of 1000 images."""

from __future__ import annotations

import pytest

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve
from lmc_repro.barriers.results import MarkResult, PairResult
from lmc_repro.barriers.verdict import judge, judge_cell, judge_strict, summarise

THRESHOLD = 2.0
Ends = tuple[int, int]


def mark(epoch: int, points: float | None, ends: Ends = (0, 0)) -> MarkResult:
    """Return a mark whose test barrier is `points` and whose train barrier is ten times that; None: not trained."""
    middle = round(10 * (points or 0)) + sum(ends) // 2
    curves = {
        "train": Curve((ends[0], 10 * middle, ends[1]), 1000, (0.0, 0.0, 0.0)),
        "test": Curve((ends[0], middle, ends[1]), 1000, (0.0, 0.0, 0.0)),
    }
    if points is None:
        return MarkResult(epoch, ("undertrained", "trained"), curves, None)
    return MarkResult(epoch, ("trained", "trained"), curves, {s: barriers(curves, s, 10) for s in ("train", "test")})


def pair(seed: int, *points: float | None, name: str = "", ends: Ends = (0, 0)) -> PairResult:
    """Return a pair with one mark for each number."""
    marks = tuple(mark(10 * (i + 1), value, ends) for i, value in enumerate(points))
    return PairResult(name or str(seed), seed, (f"a{seed}", f"b{seed}"), marks, 1.0, 0.9, {"train": 0.0, "test": 0.0})


def test_threshold() -> None:
    assert judge(1.99, THRESHOLD) == "connected"
    assert judge(2.0, THRESHOLD) == "disconnected"
    assert judge(None, THRESHOLD) is None
    assert judge_strict([1.0, 1.9], THRESHOLD) == "connected"
    assert judge_strict([2.0, 30.0], THRESHOLD) == "disconnected"
    assert judge_strict([1.0, 3.0], THRESHOLD) == "mixed"
    assert judge_strict([], THRESHOLD) is None


def test_three_seeds() -> None:
    found = summarise([pair(0, 0.5), pair(1, 0.1), pair(2, 0.3)], "test", THRESHOLD)
    assert found.values == pytest.approx((0.5, 0.1, 0.3))
    assert (found.mean, found.median, found.min, found.max, found.sd) == pytest.approx((0.3, 0.3, 0.1, 0.5, 0.2))
    assert (found.verdict, found.verdict_strict, found.flags) == ("connected", "connected", ())


def test_splits_are_judged_apart() -> None:
    cell = judge_cell([pair(seed, 0.5) for seed in range(3)], THRESHOLD)
    assert cell.summary["test"].mean == pytest.approx(0.5) and cell.summary["test"].verdict == "connected"
    assert cell.summary["train"].mean == pytest.approx(5.0) and cell.summary["train"].verdict == "disconnected"


def test_mixed_and_borderline() -> None:
    found = summarise([pair(0, 0.0), pair(1, 1.0), pair(2, 4.0)], "test", THRESHOLD)
    assert found.verdict == "connected" and found.verdict_strict == "mixed"
    assert found.sd == pytest.approx(2.0817, abs=1e-4) and found.flags == ("borderline",)
    far = summarise([pair(0, 9.0), pair(1, 10.0), pair(2, 11.0)], "test", THRESHOLD)
    assert far.sd == pytest.approx(1.0) and far.flags == ()


def test_fewer_than_three_seeds_are_provisional_and_have_no_sd() -> None:
    for n in (1, 2):
        found = summarise([pair(seed, 0.5 * seed) for seed in range(n)], "test", THRESHOLD)
        assert found.sd is None and found.flags == ("provisional",) and found.verdict == "connected"


def test_replicas_are_averaged_within_their_seed_first() -> None:
    seed_0 = [pair(0, 9.0, name="0-0-1"), pair(0, 12.0, name="0-0-2"), pair(0, 15.0, name="0-1-2")]
    found = summarise([*seed_0, pair(1, 0.0), pair(2, 3.0)], "test", THRESHOLD)
    assert found.values == pytest.approx((12.0, 0.0, 3.0))  # n is the number of trainer seeds
    assert found.mean == pytest.approx(5.0)  # not 39 / 5
    assert "provisional" not in found.flags
    two = summarise([*seed_0, pair(1, 0.0)], "test", THRESHOLD)
    assert "provisional" in two.flags and two.sd is None  # four pairs, but two seeds


def test_pair_with_an_untrained_end_has_no_say() -> None:
    found = summarise([pair(0, 10.0), pair(1, 10.0), pair(2, None)], "test", THRESHOLD)
    assert found.values == pytest.approx((10.0, 10.0)) and found.flags == ("provisional",)


def test_cell_without_trained_pairs_has_no_verdict() -> None:
    found = summarise([pair(seed, None) for seed in range(3)], "test", THRESHOLD)
    assert found.values == () and found.flags == ()
    for value in (found.mean, found.median, found.min, found.max, found.sd, found.line_mean, found.normalised_mean):
        assert value is None
    assert found.verdict is None and found.verdict_strict is None
    assert [(late.mean, late.verdict) for late in found.late] == [(None, None)]


def test_unequal_ends_disagree_with_the_line() -> None:
    # Eq. 1 is half of the ends' difference, 5 points; over the chord there is nothing.
    found = summarise([pair(seed, 0.0, ends=(0, 100)) for seed in range(3)], "test", THRESHOLD)
    assert found.mean == pytest.approx(5.0) and found.verdict == "disconnected"
    assert found.line_mean == 0.0 and found.flags == ("endpoint_mismatch",)


def test_verdict_that_changes_among_the_last_five_marks_is_unstable() -> None:
    # The first of six marks is not among the last five.
    steady = summarise([pair(seed, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0) for seed in range(3)], "test", THRESHOLD)
    assert steady.flags == () and [late.epoch for late in steady.late] == [20, 30, 40, 50, 60]
    moving = summarise([pair(seed, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0) for seed in range(3)], "test", THRESHOLD)
    assert moving.flags == ("unstable",) and moving.verdict == "connected"
    assert [late.verdict for late in moving.late] == ["disconnected", *["connected"] * 4]


def test_normalised_mean() -> None:
    found = summarise([pair(seed, 5.0, ends=(500, 500)) for seed in range(3)], "test", THRESHOLD)
    assert found.normalised_mean == pytest.approx(10.0)  # 5 points of an accuracy of 0.5
