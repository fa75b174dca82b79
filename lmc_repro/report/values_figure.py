"""A study's values as a figure: a line of means, each trainer seed a small dot, their range a light bar or band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.drawing import QUIET, drawing_style, inch_axes, render
from lmc_repro.report.plot_lines import Point
from lmc_repro.report.plots import Panel, Series, ValuePlot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lines differ in dashes and markers as well as in colour: they can be told apart in grey.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#12436d", "linestyle": "-", "marker": "o"},
    {"color": "#e08214", "linestyle": (0, (4, 2)), "marker": "s"},
    {"color": "#4d4d4d", "linestyle": (0, (1, 1.5)), "marker": "^"},
    {"color": "#7b3294", "linestyle": (0, (6, 2, 1, 2)), "marker": "D"},
    {"color": "#1b7a5a", "linestyle": (0, (2, 2)), "marker": "v"},
    {"color": "#8a5a00", "linestyle": (0, (8, 2)), "marker": "P"},
)
_DPI = 150
_WIDTH, _HEIGHT = 2.6, 1.75  # inches of a panel
_LEFT, _RIGHT, _TOP, _LEGEND = 0.75, 0.15, 0.5, 0.17  # inches around the panels; of a line of the legend
_APART = 0.28  # inches between the two splits
_LONG = 7  # characters of a tick's label that stand upright beside its neighbours


def values_figure(plot: ValuePlot, title: str) -> dict[str, bytes]:
    """Return {"png": bytes, "svg": bytes}: test above train, a panel a group of lines; equal plots give equal bytes."""
    across = len(plot.groups)
    wide = max(_WIDTH, (0.0 if plot.over_training else 0.42 * len(plot.ticks)) + 0.6) if across < 3 else _WIDTH
    slanted = max(len(label) for _, label in plot.ticks) > _LONG
    names = list(dict.fromkeys(series.label for panel in plot.panels["test"] for series in panel.series))
    below = 0.42 + (0.037 * max(len(label) for _, label in plot.ticks) if slanted else 0.0)
    legend = _LEGEND * len(_legend_lines(names)) + 0.05
    width = _LEFT + across * wide + 0.12 * (across - 1) + _RIGHT
    height = _TOP + 2 * _HEIGHT + _APART + below + legend
    with drawing_style():
        figure, axes = inch_axes(width, height)
        for down, split in enumerate(reversed(SPLITS)):
            for place, panel in enumerate(plot.panels[split]):
                frame = Frame(_LEFT + place * (wide + 0.12), below + legend + (1 - down) * (_HEIGHT + _APART), wide)
                _frame(axes, plot, frame, place == 0, down == 1, slanted)
                _panel(axes, plot, panel, names, frame)
                if down == 0 and panel.title:
                    axes.text(
                        frame.left + wide / 2, frame.bottom + _HEIGHT + 0.05, panel.title, ha="center", va="bottom"
                    )
                if place == 0:
                    middle = frame.bottom + _HEIGHT / 2
                    axes.text(_LEFT - 0.3, middle, split, rotation=90, ha="center", va="center")
        middle = below + legend + (2 * _HEIGHT + _APART) / 2
        axes.text(0.08, middle, plot.y_label, rotation=90, ha="left", va="center")
        axes.text((width + _LEFT - _RIGHT) / 2, legend + 0.06, plot.x_label, ha="center", va="bottom")
        axes.text(0.1, height - 0.1, title, va="top", fontsize=9.0)
        if any(not p.seeds for panel in plot.panels["test"] for line in panel.series for p in line.points):
            lost = "no mark: no verdict" if plot.over_training else "x: no verdict"
            axes.text(width - _RIGHT, legend + 0.06, lost, ha="right", va="bottom", color=QUIET, fontsize=7.0)
        _legend(figure, names, width)
        return render(figure, _DPI)


@dataclass(frozen=True)
class Frame:
    """Where a panel lies, in inches."""

    left: float
    bottom: float
    wide: float

    def x(self, plot: ValuePlot, value: float) -> float:
        low, high = plot.width
        return self.left + self.wide * (value - low) / (high - low)

    def y(self, plot: ValuePlot, value: float) -> float:
        return self.bottom + _HEIGHT * plot.scale.up(value)


def _frame(axes: Axes, plot: ValuePlot, frame: Frame, first: bool, last: bool, slanted: bool) -> None:
    """Draw a panel's two axes and their ticks; the outer panels have the numbers."""
    from matplotlib.collections import LineCollection

    left, bottom = frame.left, frame.bottom
    lines = [[(left, bottom + _HEIGHT), (left, bottom), (left + frame.wide, bottom)]]
    for value in plot.scale.marks:
        y = frame.y(plot, value)
        lines.append([(left - 0.035, y), (left, y)])
        if first:
            axes.text(left - 0.07, y, f"{value:g}", ha="right", va="center", fontsize=7.0, color=QUIET)
    turn: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {"ha": "center"}
    for at, label in plot.ticks:
        x = frame.x(plot, at)
        lines.append([(x, bottom - 0.035), (x, bottom)])
        if last:
            axes.text(x, bottom - 0.07, label, va="top", fontsize=7.0, color=QUIET, **turn)
    axes.add_collection(LineCollection(lines, colors=QUIET, linewidths=0.6), autolim=False)
    if plot.threshold is not None:
        y = frame.y(plot, plot.threshold)
        axes.plot((left, left + frame.wide), (y, y), color=QUIET, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)


def _panel(axes: Axes, plot: ValuePlot, panel: Panel, names: list[str], frame: Frame) -> None:
    for place, series in enumerate(panel.series):
        style = STYLES[names.index(series.label) % len(STYLES)]
        shift = 0.0 if plot.over_training else dodge(place, len(panel.series))

        def x(point: Point, shift: float = shift) -> float:
            return frame.x(plot, point.x + shift)

        def y(value: float) -> float:
            return frame.y(plot, value)

        there = [point for point in series.points if point.seeds]
        xs = [x(p) for p in there]
        lows, highs = ([y(end(p.seeds)) for p in there] for end in (min, max))
        if plot.over_training:
            axes.fill_between(xs, lows, highs, color=style["color"], alpha=0.15, linewidth=0.0, zorder=2)
        else:
            axes.vlines(xs, lows, highs, color=style["color"], alpha=0.3, linewidth=2.4, zorder=2)
        dots = [(x(p), y(value)) for p in there for value in p.seeds]
        axes.plot([at for at, _ in dots], [up for _, up in dots], linestyle="", marker=".", markersize=3.4,
                  markeredgewidth=0.0, color=style["color"], alpha=0.75, zorder=3)  # fmt: skip
        for part in unbroken(series):
            axes.plot([x(p) for p in part], [y(p.mean) for p in part], linewidth=1.1, markersize=3.4,
                      markeredgewidth=0.6, markerfacecolor="white", zorder=4, **style)  # fmt: skip
        if lost := [x(p) for p in series.points if not p.seeds and not plot.over_training]:
            axes.plot(lost, [frame.bottom + 0.05] * len(lost), linestyle="", marker="x", markersize=3.6,
                      color=style["color"], zorder=4)  # fmt: skip


def dodge(place: int, count: int) -> float:
    """Return how far a line's points stand from the middle of a tick, so that lines do not hide one another."""
    return (place - (count - 1) / 2) * min(0.12, 0.5 / count)


def unbroken(series: Series) -> list[list[Point]]:
    """Return the parts of a line between cells without a verdict."""
    parts: list[list[Point]] = [[]]
    for point in series.points:
        if point.seeds:
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _legend_lines(names: list[str]) -> list[list[str]]:
    return [names[i : i + 3] for i in range(0, len(names), 3)]


def _legend(figure: Any, names: list[str], width: float) -> None:
    from matplotlib.lines import Line2D

    samples = [
        Line2D([], [], label=name, linewidth=1.1, markersize=3.4, markerfacecolor="white", **STYLES[i % len(STYLES)])
        for i, name in enumerate(names)
    ]
    figure.legend(handles=samples, loc="lower left", ncols=min(len(names), 3), bbox_to_anchor=(0.1 / width, 0.0),
                  borderaxespad=0.2, handlelength=3.0)  # fmt: skip
