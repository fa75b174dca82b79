"""Small curves of characters: heights, one scale, and no lost peak."""

from __future__ import annotations

import io
import sys

import pytest

from lmc_repro.report.unicode_curve import BLOCKS, PLAIN, plot, ramp, shorten, spark


def test_a_spark_goes_from_the_lowest_mark_to_a_full_block() -> None:
    assert spark([0.0, 50.0, 100.0], 0.0, 100.0, BLOCKS) == "▁▅█"
    assert spark([1.0, 1.0], 0.0, 100.0, BLOCKS) == "▁▁"
    assert spark([0.0, 0.0], 0.0, 0.0, BLOCKS) == "▁▁"
    assert spark([None, float("nan")], 0.0, 1.0, BLOCKS) == "??"


def test_a_plot_stands_on_its_base() -> None:
    lines = plot([0.0, 10.0, 5.0], 0.0, 10.0, height=2, characters=BLOCKS)
    top, bottom = lines
    assert len(top) == len(bottom) == 51
    assert (top[0], top[20], top[-1]) == (" ", "█", " ")
    assert (bottom[0], bottom[20], bottom[-1]) == ("▁", "█", "█")


def test_a_shortened_curve_keeps_its_peak() -> None:
    values = [0.0] * 101
    values[37] = 9.0
    short = shorten(values, 51)
    assert len(short) == 51 and max(v for v in short if v is not None) == 9.0
    assert shorten([1.0, 2.0], 51) == [1.0, 2.0]
    assert len(plot(values, 0.0, 9.0)[0]) == 51


def test_a_terminal_without_blocks_gets_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert ramp() == PLAIN
    spark([0.0, 1.0], 0.0, 1.0).encode("latin-1")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert ramp() == BLOCKS
