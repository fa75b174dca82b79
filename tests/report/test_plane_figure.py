"""The drawing of a plane: its values and places, its levels, equal bytes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes

from lmc_repro.barriers.curve import SPLITS, Curve
from lmc_repro.barriers.results import Plane
from lmc_repro.report import figures
from lmc_repro.report.figures import COLUMN
from lmc_repro.report.plane_figure import COLOURS, levels_within, plane_figure
from lmc_repro.results.read import read_planes
from lmc_repro.results.write import planes_csv

RUNS = ("seeds 0-0", "seeds 0-1", "seeds 1-2")
N = 1000


def a_plane(size: float = 30.0, floor: float = 3.0, points: int = 21, tall: float = 0.8, second: float = 1.0) -> Plane:
    """Return a plane with a well of `floor` percent around each run, of which the second may be nearer."""
    corners = ((0.0, 0.0), (second * size, 0.0), (0.45 * size, tall * size))
    xs = tuple(size * (-0.2 + 1.4 * i / (points - 1)) for i in range(points))
    ys = tuple(tall * size * (-0.2 + 1.4 * i / (points - 1)) for i in range(points))

    def wrong(x: float, y: float) -> int:
        near = min(math.dist((x, y), corner) for corner in corners) / size
        return round(N / 100 * (floor + (90 - floor) * (1 - math.exp(-6 * near**2))))

    def curve(counts: list[int]) -> Curve:
        return Curve(tuple(counts), N, (0.5,) * (len(counts) - 1) + (None,))

    rows = tuple(curve([wrong(x, y) for x in xs]) for y in ys)
    runs = curve([wrong(*corner) for corner in corners])
    return Plane(("a", "b", "c"), corners, xs, ys, dict.fromkeys(SPLITS, runs), dict.fromkeys(SPLITS, rows))


def test_what_is_drawn_is_the_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    contourf = Axes.contourf
    monkeypatch.setattr(Axes, "contourf", lambda axes, *a, **k: drawn.append((axes, a)) or contourf(axes, *a, **k))
    monkeypatch.setattr(figures, "render", lambda drawing, *_: {})
    plane = a_plane()
    test = tuple(replace(row, wrong=tuple(count // 2 for count in row.wrong)) for row in plane.rows["test"])
    plane = replace(plane, rows={**plane.rows, "test": test})
    plane_figure(plane, RUNS, "title", "name")
    assert [axes.get_title() for axes, _ in drawn] == ["test", "train"]
    for (axes, (xs, ys, errors, levels)), split in zip(drawn, ("test", "train"), strict=True):
        assert (xs, ys) == (plane.xs, plane.ys)
        assert errors == [[100.0 * error for error in row.errors] for row in plane.rows[split]]
        assert levels == drawn[0][1][3]  # one scale of colours
        assert axes.get_aspect() == 1.0  # distances true to scale
        marked = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]
        assert marked == list(plane.corners)
        assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (3.1, 81.0, [3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0]),
        (0.0, 0.04, [0.0, 0.1]),
        (2.5, 2.5, [2.0, 3.0]),
        (100.0, 100.0, [70.0, 100.0]),
        (0.3, 100.0, [0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0]),
    ],
)
def test_levels_hold_all_errors(low: float, high: float, levels: list[float]) -> None:
    assert levels_within(low, high) == levels


def test_colours_fall_in_lightness_and_so_read_in_grey() -> None:
    colours = [matplotlib.colormaps[COLOURS](i / 20)[:3] for i in range(21)]
    lightness = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in colours]
    assert all(a - b > 0.015 for a, b in pairwise(lightness))


def test_equal_planes_have_equal_bytes_and_words_say_the_extremes() -> None:
    first = plane_figure(a_plane(), RUNS, "8-Layer", "name", 6.0)
    assert plane_figure(a_plane(), RUNS, "8-Layer", "name", 6.0) == first
    assert plane_figure(a_plane(floor=9.0), RUNS, "8-Layer", "name", 6.0).files["svg"] != first.files["svg"]
    assert set(first.files) == {"png", "svg", "pdf"} and b"dc:date" not in first.files["svg"]
    assert "test: 3.10 to 87.40 %" in first.alt
    svg = first.files["svg"].decode()
    assert all(f">{i}: {run}<" in svg for i, run in enumerate(RUNS, 1)) and ">8-Layer<" in svg
    column = plane_figure(a_plane(), RUNS, "8-Layer", "name", kinds=("svg",)).files["svg"].decode()
    assert ">8-Layer<" not in column and f'width="{72 * COLUMN:g}pt"' in column


def test_what_is_read_back_is_what_was_written() -> None:
    planes = {"one": a_plane(points=4), "two": a_plane(size=7.0, points=3)}
    content = planes_csv("study", planes)
    lines = [line.split(",") for line in content.decode().splitlines()]
    assert read_planes(lines) == planes and planes_csv("study", read_planes(lines)) == content
    with pytest.raises(ValueError, match="two, test: not the three runs and a whole grid"):
        read_planes(lines[:-1])
