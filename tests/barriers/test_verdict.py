"""Verdicts on hand-made pairs; every number here is an error count of 1000 images of ten classes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import CellSummary, EpochResult, PairResult
from lmc_repro.barriers.verdict import judge, judge_barrier, judge_cell, judge_strict, pair_flags
from lmc_repro.barriers.verdict import summarise as summarise_for
from lmc_repro.config.study import Judgement

JUDGEMENT = Judgement(threshold=2.0)
Ends = tuple[int, int]


def summarise(pairs: list[PairResult], split: SplitName = "test", classes: int = 10) -> CellSummary:
    return summarise_for(pairs, split, JUDGEMENT, classes)


def path(*errors: float, train: Ends = (0, 0)) -> EpochResult:
    """Return an evaluation at epoch 60 with these errors along the test path, in points, and a flat train path."""
    test = Curve(tuple(round(100 * error) for error in errors), 10_000, (0.0,) * len(errors))
    flat = Curve((train[0], *[max(train)] * (len(errors) - 2), train[1]), 10_000, (0.0,) * len(errors))
    curves: dict[SplitName, Curve] = {"train": flat, "test": test}
    return EpochResult(60, ("trained", "trained"), curves, {s: barriers(curves, s, 10) for s in curves})


def of_epochs(seed: int, *evaluations: EpochResult, name: str = "") -> PairResult:
    """Return a pair with these evaluations."""
    ends = (f"a{seed}", f"b{seed}")
    return PairResult(name or str(seed), seed, ends, 100, evaluations, 1.0, 0.9, {"train": 0.0, "test": 0.0})


def seeds(epoch: EpochResult, n: int = 3) -> list[PairResult]:
    """Return a pair with this epoch for each of n trainer seeds."""
    return [of_epochs(seed, epoch) for seed in range(n)]


def epoch(epoch: int, points: float | None, ends: Ends = (0, 0)) -> EpochResult:
    """Return an evaluation of test barrier `points`, ten times that on train; None: untrained."""
    middle = round(10 * (points or 0)) + sum(ends) // 2
    curves = {
        "train": Curve((ends[0], 10 * middle, ends[1]), 1000, (0.0, 0.0, 0.0)),
        "test": Curve((ends[0], middle, ends[1]), 1000, (0.0, 0.0, 0.0)),
    }
    if points is None:
        return EpochResult(epoch, ("collapsed", "trained"), curves, None)
    return EpochResult(epoch, ("trained", "trained"), curves, {s: barriers(curves, s, 10) for s in ("train", "test")})


def pair(seed: int, *points: float | None, name: str = "", ends: Ends = (0, 0)) -> PairResult:
    """Return a pair with one epoch for each number."""
    return of_epochs(seed, *(epoch(10 * (i + 1), value, ends) for i, value in enumerate(points)), name=name)


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


HILL, WORSE_END = path(4.0, 10.0, 4.0), path(4.0, 8.0, 12.0)  # Eq. 1 6 and 4, line 6 and 0
REPLICAS = [pair(0, 9.0, name="0-0-1"), pair(0, 12.0, name="0-0-2"), pair(0, 15.0, name="0-1-2")]
NOTHING = {"values": (), "verdict": None, "verdict_strict": None, "flags": ()}
NOTHING |= dict.fromkeys(("mean", "median", "min", "max", "sd", "line_mean", "normalised_mean"))

SUMMARIES: dict[str, tuple[list[PairResult], dict[str, Any]]] = {
    "three seeds": (
        [pair(0, 0.5), pair(1, 0.1), pair(2, 0.3)],
        {"values": (0.5, 0.1, 0.3), "mean": 0.3, "median": 0.3, "min": 0.1, "max": 0.5, "sd": 0.2}
        | {"verdict": "connected", "verdict_strict": "connected", "flags": ()},
    ),
    "mixed and borderline": (
        [pair(0, 0.0), pair(1, 1.0), pair(2, 4.0)],
        {"verdict": "connected", "verdict_strict": "mixed", "sd": 13**0.5 / 3**0.5, "flags": ("borderline",)},
    ),
    "not borderline": ([pair(0, 9.0), pair(1, 10.0), pair(2, 11.0)], {"sd": 1.0, "flags": ()}),
    "one seed": ([pair(0, 0.0)], {"sd": None, "flags": ("provisional",), "verdict": "connected"}),
    "two seeds": ([pair(0, 0.0), pair(1, 0.5)], {"sd": None, "flags": ("provisional",), "verdict": "connected"}),
    # n is the number of trainer seeds; the mean is not 39 / 5
    "replicas are averaged within their seed first": (
        [*REPLICAS, pair(1, 0.0), pair(2, 3.0)],
        {"values": (12.0, 0.0, 3.0), "mean": 5.0, "flags": ("borderline",)},
    ),
    "four pairs, but two seeds": ([*REPLICAS, pair(1, 0.0)], {"sd": None, "flags": ("provisional",)}),
    "a pair with an untrained end has no say": (
        [pair(0, 10.0), pair(1, 10.0), pair(2, None)],
        {"values": (10.0, 10.0), "flags": ("provisional",)},
    ),
    "no trained pair, no verdict": ([pair(seed, None) for seed in range(3)], NOTHING),
    # Figure 1, slope 0, 8 layers on digits: a middle that is better by 5.37; the chord is at 5.70 at alpha 0.25.
    "one end that is worse is no hill": (
        seeds(path(3.60, 5.81, 2.43, 2.43, 12.00), 1),
        {"mean": 4.20, "line_mean": 0.11, "verdict": "unequal ends", "verdict_strict": "unequal ends"},
    ),
    "a hill between unequal ends is disconnected": (
        seeds(path(4.0, 30.0, 12.0)),
        {"mean": 22.0, "line_mean": 22.0, "verdict": "disconnected", "verdict_strict": "disconnected", "flags": ()},
    ),
    "the means are judged, the strict verdict tells the pairs apart": (
        [of_epochs(0, HILL), of_epochs(1, WORSE_END), of_epochs(2, WORSE_END)],
        {"mean": 14 / 3, "line_mean": 2.0, "verdict": "disconnected", "verdict_strict": "mixed"},
    ),
    "one more worse end": (
        [of_epochs(0, HILL), *(of_epochs(seed, WORSE_END) for seed in (1, 2, 3))],
        {"line_mean": 1.5, "verdict": "unequal ends", "verdict_strict": "mixed"},
    ),
    # not 6 / 4
    "line barriers of dependent pairs are averaged within their seed first": (
        [of_epochs(0, HILL), *(of_epochs(1, WORSE_END) for _ in range(3))],
        {"line_mean": 3.0, "verdict": "disconnected"},
    ),
    # Eq. 1 is 10 whatever the middle is.
    "a line barrier that decides is borderline too": (
        [of_epochs(seed, path(4.0, 14.0 + line, 24.0)) for seed, line in enumerate((0.0, 2.0, 3.0))],
        {"line_mean": 5 / 3, "verdict": "unequal ends", "flags": ("borderline",)},
    ),
    "a line barrier far from the threshold": (
        [of_epochs(seed, path(4.0, 14.0 + line, 24.0)) for seed, line in enumerate((0.0, 0.1, 0.2))],
        {"verdict": "unequal ends", "flags": ()},
    ),
    "exactly twice the threshold is something to lose": (seeds(path(86.0, 86.0, 86.0), 1), {"verdict": "connected"}),
    "less is not": (seeds(path(86.0, 86.0, 86.02), 1), {"verdict": None}),  # the mean of the ends, 86.01
    # Ten classes: half the way from chance to 1 is an accuracy of 55 %.
    "trained enough": (
        [of_epochs(seed, path(5.0, 9.0, 5.0, train=(4500 * (seed == 1), 0))) for seed in range(3)],
        {"mean": 4.0, "verdict": "disconnected", "flags": ()},
    ),
    "an undertrained end is a flag and no reason to be silent": (
        [of_epochs(seed, path(5.0, 9.0, 5.0, train=(4501 * (seed == 1), 0))) for seed in range(3)],
        {"mean": 4.0, "verdict": "disconnected", "flags": ("undertrained",)},
    ),
    "an undertrained other end": (
        [of_epochs(seed, path(5.0, 9.0, 5.0, train=(0, 4501 * (seed == 1)))) for seed in range(3)],
        {"mean": 4.0, "verdict": "disconnected", "flags": ("undertrained",)},
    ),
    # 5 points of an accuracy of 0.5
    "normalised": ([pair(seed, 5.0, ends=(500, 500)) for seed in range(3)], {"normalised_mean": 10.0}),
}


@pytest.mark.parametrize("pairs, expected", SUMMARIES.values(), ids=SUMMARIES)
def test_a_cell_is_judged_by_its_pairs(pairs: list[PairResult], expected: dict[str, Any]) -> None:
    found = vars(summarise(pairs))
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) or name == "values" else value), name


def test_splits_are_judged_apart() -> None:
    cell = judge_cell([pair(seed, 0.5) for seed in range(3)], JUDGEMENT, 10)
    assert cell.summary["test"].mean == pytest.approx(0.5) and cell.summary["test"].verdict == "connected"
    assert cell.summary["train"].mean == pytest.approx(5.0) and cell.summary["train"].verdict == "disconnected"


def test_nothing_to_lose() -> None:
    # The paper's cells on Tiny ImageNet, 200 classes: 1.68 % of test accuracy is 1.18 points above chance, less than
    # twice the threshold; 14.26 % is 13.76.
    low, high = path(98.32, 99.5, 98.32), path(85.74, 99.5, 85.74)
    cell = summarise(seeds(low), classes=200)
    assert cell.mean == pytest.approx(1.18) and cell.normalised_mean == pytest.approx(100 * 1.18 / 1.68)
    assert (cell.verdict, cell.verdict_strict, cell.flags) == (None, None, ("nothing_to_lose",))
    assert summarise(seeds(high), classes=200).verdict == "disconnected"
    # Above chance, not above 0: the same 14.26 % of ten classes have 4.26 points to lose, of seven classes -0.03.
    assert summarise(seeds(high, 1), classes=10).verdict == "disconnected"
    assert summarise(seeds(high, 1), classes=7).verdict is None


def test_the_splits_have_their_own_to_lose() -> None:
    cell = judge_cell(seeds(path(98.0, 98.0, 98.0), 1), JUDGEMENT, 10)
    assert (cell.summary["train"].verdict, cell.summary["train"].flags) == ("connected", ("provisional",))
    assert (cell.summary["test"].verdict, cell.summary["test"].flags) == (None, ("provisional", "nothing_to_lose"))


def test_what_is_undertrained_is_the_judgements() -> None:
    epoch = path(5.0, 9.0, 5.0, train=(4501, 0))
    assert pair_flags(epoch, "test", JUDGEMENT, 10) == ("undertrained",)
    assert pair_flags(epoch, "test", Judgement(threshold=2.0, min_train_accuracy=0.5), 10) == ()


def test_verdict_that_changes_among_the_last_five_marks_is_unstable() -> None:
    # The first of six evaluations is not among the last five.
    steady = summarise([pair(seed, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0) for seed in range(3)])
    assert steady.flags == () and [late.epoch for late in steady.late] == [20, 30, 40, 50, 60]
    moving = summarise([pair(seed, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0) for seed in range(3)])
    assert moving.flags == ("unstable",) and moving.verdict == "connected"
    assert [late.verdict for late in moving.late] == ["disconnected", *["connected"] * 4]


def at(epoch: float, at_epoch: EpochResult) -> EpochResult:
    return dataclasses.replace(at_epoch, epoch=epoch)


def test_marks_at_which_the_ends_are_not_trained_yet_say_nothing_of_stability() -> None:
    still = path(3.0, 3.0, 3.0)
    lost = dataclasses.replace(path(90.0, 90.0, 90.0), status=("collapsed", "collapsed"), barriers=None)
    guess = path(80.0, 80.0, 80.0)  # a first guess that is far above chance
    hill = path(3.0, 30.0, 3.0)
    for first in (lost, guess, path(90.0, 90.0, 90.0)):
        assert summarise([of_epochs(s, at(0, first), at(10, hill)) for s in range(3)]).flags == ()
    for epoch in (0.5, 5):
        assert summarise([of_epochs(s, at(epoch, lost), at(10, still)) for s in range(3)]).flags == ()
        assert summarise([of_epochs(s, at(epoch, hill), at(10, still)) for s in range(3)]).flags == ("unstable",)
    ends = path(3.0, 3.0, 13.0)
    moving = summarise([of_epochs(s, at(5, hill), at(10, ends)) for s in range(3)])
    assert moving.verdict == "unequal ends" and moving.flags == ("unstable",)
    assert [(late.mean, late.line_mean) for late in moving.late] == [(27.0, 27.0), (5.0, 0.0)]
