"""A path as `lmc barrier` and `lmc compare RUN RUN` tell it: errors of 1000 images of ten classes."""

from __future__ import annotations

import pytest

from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.pair import judge_mark
from lmc_repro.barriers.results import MarkResult
from lmc_repro.config.study import Judgement
from lmc_repro.report.path_text import path_lines, split_records


def mark(test: tuple[int, ...], train: tuple[int, ...] = (0, 0, 0)) -> MarkResult:
    curves: dict[SplitName, Curve] = {"train": Curve(train, 1000, (0.0,) * 3), "test": Curve(test, 1000, (0.0,) * 3)}
    return judge_mark(60, curves, (None, None), 10, 100)


@pytest.mark.parametrize(
    ("test", "train", "verdict", "flags", "said"),
    [
        ((20, 25, 30), (0, 0, 0), "connected", (), "test: connected (threshold 2 points)"),
        ((20, 300, 120), (0, 0, 0), "disconnected", (), "test: disconnected (threshold 2 points)"),
        ((20, 25, 120), (0, 0, 0), "unequal ends", (), "test: unequal ends (threshold 2 points)"),
        ((20, 25, 120), (0, 0, 451), "unequal ends", ("undertrained",), "undertrained: "),
        (
            (861, 900, 861),
            (0, 0, 0),
            None,
            ("nothing_to_lose",),
            "no verdict (threshold 2 points)\nnothing to lose",
        ),
        ((861, 900, 861), (0, 0, 853), None, (), "test: no verdict: an end diverged or collapsed"),
    ],
    ids=["connected", "disconnected", "unequal ends", "undertrained", "nothing to lose", "collapsed"],
)
def test_verdicts_and_what_is_said_beside_them(
    test: tuple[int, ...], train: tuple[int, ...], verdict: str | None, flags: tuple[str, ...], said: str
) -> None:
    records = split_records(mark(test, train), Judgement(threshold=2.0), 10, ("test",))
    assert (records["test"]["verdict"], records["test"]["flags"]) == (verdict, flags)
    assert said in "\n".join(path_lines(records, 2.0))
    assert (records["test"]["barrier"] is None) == (train[-1] == 853)  # 147 right of 1000: 4.95 standard deviations
