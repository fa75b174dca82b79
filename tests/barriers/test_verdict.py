"""Verdicts on hand-made pairs; every number here is an error count of 1000 images of ten classes."""

from __future__ import annotations

import dataclasses

import pytest

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import CellSummary, MarkResult, PairResult
from lmc_repro.barriers.verdict import judge, judge_barrier, judge_cell, judge_strict, pair_flags
from lmc_repro.barriers.verdict import summarise as summarise_for
from lmc_repro.config.study import Judgement

JUDGEMENT = Judgement(threshold=2.0)
Ends = tuple[int, int]


def summarise(pairs: list[PairResult], split: SplitName = "test", classes: int = 10) -> CellSummary:
    return summarise_for(pairs, split, JUDGEMENT, classes)


def path(*errors: float, train: Ends = (0, 0)) -> MarkResult:
    """Return a mark at epoch 60 with these errors along the test path, in points, and a flat train path."""
    test = Curve(tuple(round(100 * error) for error in errors), 10_000, (0.0,) * len(errors))
    flat = Curve((train[0], *[max(train)] * (len(errors) - 2), train[1]), 10_000, (0.0,) * len(errors))
    curves: dict[SplitName, Curve] = {"train": flat, "test": test}
    return MarkResult(60, ("trained", "trained"), curves, {s: barriers(curves, s, 10) for s in curves})


def of_mark(seed: int, *marks: MarkResult) -> PairResult:
    """Return a pair with these marks."""
    return PairResult(str(seed), seed, ("a", "b"), 100, marks, 1.0, 0.9, {"train": 0.0, "test": 0.0})


def mark(epoch: int, points: float | None, ends: Ends = (0, 0)) -> MarkResult:
    """Return a mark whose test barrier is `points` and whose train barrier is ten times that; None: not trained."""
    middle = round(10 * (points or 0)) + sum(ends) // 2
    curves = {
        "train": Curve((ends[0], 10 * middle, ends[1]), 1000, (0.0, 0.0, 0.0)),
        "test": Curve((ends[0], middle, ends[1]), 1000, (0.0, 0.0, 0.0)),
    }
    if points is None:
        return MarkResult(epoch, ("collapsed", "trained"), curves, None)
    return MarkResult(epoch, ("trained", "trained"), curves, {s: barriers(curves, s, 10) for s in ("train", "test")})


def pair(seed: int, *points: float | None, name: str = "", ends: Ends = (0, 0)) -> PairResult:
    """Return a pair with one mark for each number."""
    marks = tuple(mark(10 * (i + 1), value, ends) for i, value in enumerate(points))
    return PairResult(
        name or str(seed), seed, (f"a{seed}", f"b{seed}"), 100, marks, 1.0, 0.9, {"train": 0.0, "test": 0.0}
    )


def test_threshold() -> None:
    assert judge(1.99, 1.99, 90.0, 2.0) == judge_barrier(1.99, 2.0) == "connected"
    assert judge(2.0, 2.0, 90.0, 2.0) == judge_barrier(2.0, 2.0) == "disconnected"
    assert judge(2.0, 1.99, 90.0, 2.0) == "unequal ends" and judge(99.0, 0.0, 90.0, 2.0) == "unequal ends"
    # The line barrier may be the larger one: it calls nothing disconnected by itself.
    assert judge(1.99, 8.0, 90.0, 2.0) == "connected"


def test_strict_verdict_is_that_of_every_pair() -> None:
    assert judge_strict(["connected", "connected"]) == "connected"
    assert judge_strict(["disconnected", "disconnected"]) == "disconnected"
    assert judge_strict(["unequal ends", "unequal ends"]) == "unequal ends"
    assert judge_strict(["disconnected", "unequal ends"]) == "mixed"
    assert judge_strict(["connected", None]) == "mixed"
    assert judge_strict([]) is None


def test_three_seeds() -> None:
    found = summarise([pair(0, 0.5), pair(1, 0.1), pair(2, 0.3)])
    assert found.values == pytest.approx((0.5, 0.1, 0.3))
    assert (found.mean, found.median, found.min, found.max, found.sd) == pytest.approx((0.3, 0.3, 0.1, 0.5, 0.2))
    assert (found.verdict, found.verdict_strict, found.flags) == ("connected", "connected", ())


def test_splits_are_judged_apart() -> None:
    cell = judge_cell([pair(seed, 0.5) for seed in range(3)], JUDGEMENT, 10)
    assert cell.summary["test"].mean == pytest.approx(0.5) and cell.summary["test"].verdict == "connected"
    assert cell.summary["train"].mean == pytest.approx(5.0) and cell.summary["train"].verdict == "disconnected"


def test_mixed_and_borderline() -> None:
    found = summarise([pair(0, 0.0), pair(1, 1.0), pair(2, 4.0)])
    assert found.verdict == "connected" and found.verdict_strict == "mixed"
    assert found.sd == pytest.approx(2.0817, abs=1e-4) and found.flags == ("borderline",)
    far = summarise([pair(0, 9.0), pair(1, 10.0), pair(2, 11.0)])
    assert far.sd == pytest.approx(1.0) and far.flags == ()


def test_fewer_than_three_seeds_are_provisional_and_have_no_sd() -> None:
    for n in (1, 2):
        found = summarise([pair(seed, 0.5 * seed) for seed in range(n)])
        assert found.sd is None and found.flags == ("provisional",) and found.verdict == "connected"


def test_replicas_are_averaged_within_their_seed_first() -> None:
    seed_0 = [pair(0, 9.0, name="0-0-1"), pair(0, 12.0, name="0-0-2"), pair(0, 15.0, name="0-1-2")]
    found = summarise([*seed_0, pair(1, 0.0), pair(2, 3.0)])
    assert found.values == pytest.approx((12.0, 0.0, 3.0))  # n is the number of trainer seeds
    assert found.mean == pytest.approx(5.0)  # not 39 / 5
    assert "provisional" not in found.flags
    two = summarise([*seed_0, pair(1, 0.0)])
    assert "provisional" in two.flags and two.sd is None  # four pairs, but two seeds


def test_pair_with_an_untrained_end_has_no_say() -> None:
    found = summarise([pair(0, 10.0), pair(1, 10.0), pair(2, None)])
    assert found.values == pytest.approx((10.0, 10.0)) and found.flags == ("provisional",)


def test_cell_without_trained_pairs_has_no_verdict() -> None:
    found = summarise([pair(seed, None) for seed in range(3)])
    assert found.values == () and found.flags == ()
    for value in (found.mean, found.median, found.min, found.max, found.sd, found.line_mean, found.normalised_mean):
        assert value is None
    assert found.verdict is None and found.verdict_strict is None
    assert [(late.mean, late.verdict) for late in found.late] == [(None, None)]


def test_one_end_that_is_worse_is_no_hill() -> None:
    # Figure 1, slope 0, 8 layers on digits: Eq. 1 4.20, line 0.11, a middle that is better by 5.37.
    ends = path(3.60, 5.81, 2.43, 2.43, 12.00)  # the chord is at 5.70 at alpha 0.25
    assert ends.barriers is not None and ends.barriers["test"].midpoint_excess == pytest.approx(-5.37)
    cell = summarise([of_mark(0, ends)])
    assert (cell.mean, cell.line_mean) == pytest.approx((4.20, 0.11))
    assert (cell.verdict, cell.verdict_strict, cell.flags) == ("unequal ends", "unequal ends", ("provisional",))


def test_a_hill_between_unequal_ends_is_disconnected() -> None:
    cell = summarise([of_mark(seed, path(4.0, 30.0, 12.0)) for seed in range(3)])
    assert (cell.mean, cell.line_mean) == pytest.approx((22.0, 22.0))
    assert (cell.verdict, cell.verdict_strict, cell.flags) == ("disconnected", "disconnected", ())


def test_the_means_are_judged_and_the_strict_verdict_tells_the_pairs_apart() -> None:
    hill, ends = path(4.0, 10.0, 4.0), path(4.0, 8.0, 12.0)  # Eq. 1 6 and 4, line 6 and 0
    cell = summarise([of_mark(0, hill), of_mark(1, ends), of_mark(2, ends)])
    assert (cell.mean, cell.line_mean) == pytest.approx((14 / 3, 2.0))
    assert (cell.verdict, cell.verdict_strict) == ("disconnected", "mixed")
    more = summarise([of_mark(0, hill), *(of_mark(seed, ends) for seed in (1, 2, 3))])
    assert more.line_mean == pytest.approx(1.5) and more.verdict == "unequal ends" and more.verdict_strict == "mixed"


def test_line_barriers_of_dependent_pairs_are_averaged_within_their_seed_first() -> None:
    hill, ends = path(4.0, 10.0, 4.0), path(4.0, 8.0, 12.0)
    cell = summarise([of_mark(0, hill), *(of_mark(1, ends) for _ in range(3))])
    assert cell.line_mean == pytest.approx(3.0) and cell.verdict == "disconnected"  # not 6 / 4


def test_a_line_barrier_that_decides_is_borderline_too() -> None:
    def ends(line: float) -> MarkResult:
        return path(4.0, 14.0 + line, 24.0)  # Eq. 1 is 10 whatever the middle is

    near = summarise([of_mark(seed, ends(line)) for seed, line in enumerate((0.0, 2.0, 3.0))])
    assert near.line_mean == pytest.approx(5 / 3) and (near.verdict, near.flags) == ("unequal ends", ("borderline",))
    far = summarise([of_mark(seed, ends(line)) for seed, line in enumerate((0.0, 0.1, 0.2))])
    assert (far.verdict, far.flags) == ("unequal ends", ())


def test_nothing_to_lose() -> None:
    # The paper's cells on Tiny ImageNet, 200 classes: 1.68 % of test accuracy is 1.18 points above chance, less than
    # twice the threshold; 14.26 % is 13.76.
    low, high = path(98.32, 99.5, 98.32), path(85.74, 99.5, 85.74)
    cell = summarise([of_mark(seed, low) for seed in range(3)], classes=200)
    assert cell.mean == pytest.approx(1.18) and cell.normalised_mean == pytest.approx(100 * 1.18 / 1.68)
    assert (cell.verdict, cell.verdict_strict, cell.flags) == (None, None, ("nothing_to_lose",))
    assert summarise([of_mark(seed, high) for seed in range(3)], classes=200).verdict == "disconnected"
    # Above chance, not above 0: the same 14.26 % of ten classes have 4.26 points to lose, of seven classes -0.03.
    assert summarise([of_mark(0, high)], classes=10).verdict == "disconnected"
    assert summarise([of_mark(0, high)], classes=7).verdict is None


def test_exactly_twice_the_threshold_is_something_to_lose() -> None:
    assert summarise([of_mark(0, path(86.0, 86.0, 86.0))]).verdict == "connected"
    assert summarise([of_mark(0, path(86.0, 86.0, 86.02))]).verdict is None  # the mean of the ends, 86.01


def test_the_splits_have_their_own_to_lose() -> None:
    cell = judge_cell([of_mark(0, path(98.0, 98.0, 98.0))], JUDGEMENT, 10)
    assert (cell.summary["train"].verdict, cell.summary["train"].flags) == ("connected", ("provisional",))
    assert (cell.summary["test"].verdict, cell.summary["test"].flags) == (None, ("provisional", "nothing_to_lose"))


def test_an_undertrained_end_is_a_flag_and_no_reason_to_be_silent() -> None:
    # Ten classes: half the way from chance to 1 is an accuracy of 55 %.
    for ends, flags in (((4500, 0), ()), ((4501, 0), ("undertrained",)), ((0, 4501), ("undertrained",))):
        cell = summarise([of_mark(seed, path(5.0, 9.0, 5.0, train=ends if seed == 1 else (0, 0))) for seed in range(3)])
        assert (cell.mean, cell.verdict, cell.flags) == (pytest.approx(4.0), "disconnected", flags)
    mark = path(5.0, 9.0, 5.0, train=(4501, 0))
    assert pair_flags(mark, "test", JUDGEMENT, 10) == ("undertrained",)
    assert pair_flags(mark, "test", Judgement(threshold=2.0, min_train_accuracy=0.5), 10) == ()


def test_verdict_that_changes_among_the_last_five_marks_is_unstable() -> None:
    # The first of six marks is not among the last five.
    steady = summarise([pair(seed, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0) for seed in range(3)])
    assert steady.flags == () and [late.epoch for late in steady.late] == [20, 30, 40, 50, 60]
    moving = summarise([pair(seed, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0) for seed in range(3)])
    assert moving.flags == ("unstable",) and moving.verdict == "connected"
    assert [late.verdict for late in moving.late] == ["disconnected", *["connected"] * 4]


def at(epoch: float, mark: MarkResult) -> MarkResult:
    return dataclasses.replace(mark, epoch=epoch)


def test_marks_at_which_the_ends_are_not_trained_yet_say_nothing_of_stability() -> None:
    still = path(3.0, 3.0, 3.0)
    lost = dataclasses.replace(path(90.0, 90.0, 90.0), status=("collapsed", "collapsed"), barriers=None)
    guess = path(80.0, 80.0, 80.0)  # a first guess that is far above chance
    hill = path(3.0, 30.0, 3.0)
    for first in (lost, guess, path(90.0, 90.0, 90.0)):
        assert summarise([of_mark(s, at(0, first), at(10, hill)) for s in range(3)]).flags == ()
    for epoch in (0.5, 5):
        assert summarise([of_mark(s, at(epoch, lost), at(10, still)) for s in range(3)]).flags == ()
        assert summarise([of_mark(s, at(epoch, hill), at(10, still)) for s in range(3)]).flags == ("unstable",)
    ends = path(3.0, 3.0, 13.0)
    moving = summarise([of_mark(s, at(5, hill), at(10, ends)) for s in range(3)])
    assert moving.verdict == "unequal ends" and moving.flags == ("unstable",)
    assert [(late.mean, late.line_mean) for late in moving.late] == [(27.0, 27.0), (5.0, 0.0)]


def test_normalised_mean() -> None:
    found = summarise([pair(seed, 5.0, ends=(500, 500)) for seed in range(3)])
    assert found.normalised_mean == pytest.approx(10.0)  # 5 points of an accuracy of 0.5
