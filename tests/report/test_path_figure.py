from __future__ import annotations

import matplotlib
import pytest

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import MarkResult, PairResult
from lmc_repro.report.pair_figure import path_figure


def _pair(middle: int, status: str = "trained") -> PairResult:
    curves: dict[SplitName, Curve] = {
        "train": Curve((2, 2 + middle // 2, 2), 200, (0.1, 0.2, 0.1)),
        "test": Curve((5, 5 + middle, 5), 100, (0.1, 0.2, 0.1)),
    }
    found = {split: barriers(curves, split, 10) for split in curves} if status == "trained" else None
    mark = MarkResult(60, ("trained", status), curves, found)
    return PairResult("0", 0, ("a", "b"), 10, (mark,), 1.0, 0.9, {"train": 0.0, "test": 0.0})


def test_equal_bytes_whatever_was_drawn_before() -> None:
    first = path_figure(_pair(40), "8-Layer, pair 0")
    assert set(first) == {"path.svg"}
    other = path_figure(_pair(20), "8-Layer, pair 1")
    path_figure(_pair(0, "diverged"), "collapsed")
    assert path_figure(_pair(40), "8-Layer, pair 0") == first
    assert other["path.svg"] != first["path.svg"]


def test_the_barriers_of_each_split_are_named() -> None:
    svg = path_figure(_pair(40), "8-Layer, pair 0")["path.svg"].decode()
    assert "test, barrier 40.00" in svg and "train, barrier 10.00" in svg
    assert "8-Layer, pair 0, epoch 60" in svg
    assert "dc:date" not in svg and "Matplotlib v" not in svg


def test_a_collapsed_pair_has_no_barrier() -> None:
    svg = path_figure(_pair(0, "collapsed"), "x")["path.svg"].decode()
    assert "no barrier: endpoints trained and collapsed" in svg
    assert ", barrier" not in svg


def test_a_users_settings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = path_figure(_pair(40), "8-Layer, pair 0")
    monkeypatch.setitem(matplotlib.rcParams, "svg.hashsalt", "other")
    monkeypatch.setitem(matplotlib.rcParams, "savefig.facecolor", "red")
    assert path_figure(_pair(40), "8-Layer, pair 0") == first
    assert matplotlib.rcParams["svg.hashsalt"] == "other"  # and nothing of the user's is changed


def test_title_is_plain_text() -> None:
    svg = path_figure(_pair(40), "a $x$ < b")["path.svg"].decode()
    assert "a $x$ &lt; b, epoch 60" in svg
