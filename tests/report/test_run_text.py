"""A path as `lmc barrier` and `lmc compare RUN RUN` print it: errors of 1000 images of ten classes; small curves."""

from __future__ import annotations

import io
import sys

import pytest

from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.pair import judge_epoch
from lmc_repro.config.study import Judgement
from lmc_repro.report.run_text import BLOCKS, PLAIN, path_lines, plot, ramp, spark, split_records


@pytest.mark.parametrize(
    ("test", "end", "verdict", "flags", "said"),
    [
        ((20, 25, 30), 0, "connected", (), "test: connected (threshold 2 points)"),
        ((20, 300, 120), 0, "disconnected", (), "test: disconnected (threshold 2 points)"),
        ((20, 25, 120), 0, "unequal ends", (), "test: unequal ends (threshold 2 points)"),
        ((20, 25, 120), 451, "unequal ends", ("undertrained",), "undertrained: "),
        ((861, 900, 861), 0, None, ("nothing_to_lose",), "no verdict (threshold 2 points)\nnothing to lose"),
        ((861, 900, 861), 853, None, (), "test: no verdict: an end diverged or collapsed"),
    ],
)
def test_verdicts_and_what_is_said_beside_them(
    test: tuple[int, ...], end: int, verdict: str | None, flags: tuple[str, ...], said: str
) -> None:
    wrong: dict[SplitName, tuple[int, ...]] = {"train": (0, 0, end), "test": test}
    curves = {split: Curve(counts, 1000, (0.0,) * 3) for split, counts in wrong.items()}
    epoch = judge_epoch(60, curves, (None, None), 10, 100)
    records = split_records(epoch, Judgement(threshold=2.0), 10, ("test",))
    assert (records["test"]["verdict"], records["test"]["flags"]) == (verdict, flags)
    assert said in "\n".join(path_lines(records, 2.0))
    assert (records["test"]["barrier"] is None) == (end == 853)  # 147 right of 1000: 4.95 standard deviations


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert ramp() == BLOCKS


def test_a_spark_goes_from_the_lowest_mark_to_a_full_block(blocks: None) -> None:
    assert spark([0.0, 50.0, 100.0], 0.0, 100.0) == "▁▅█"
    assert spark([1.0, 1.0], 0.0, 100.0) == spark([0.0, 0.0], 0.0, 0.0) == "▁▁"
    assert spark([None, float("nan")], 0.0, 1.0) == "??"


def test_a_plot_stands_on_its_base_and_keeps_its_peak(blocks: None) -> None:
    top, bottom = plot([0.0, 10.0, 5.0], 10.0, height=2)
    assert len(top) == len(bottom) == 51
    assert (top[0], top[20], top[-1]) == (" ", "█", " ")
    assert (bottom[0], bottom[20], bottom[-1]) == ("▁", "█", "█")
    lines = plot([9.0 if i == 37 else 0.0 for i in range(101)], 9.0)
    assert {len(line) for line in lines} == {51} and [line.count("█") for line in lines] == [1] * 4


def test_a_terminal_without_blocks_gets_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert ramp() == PLAIN
    spark([0.0, 1.0], 0.0, 1.0).encode("latin-1")
