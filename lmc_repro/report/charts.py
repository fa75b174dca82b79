"""The plot of a study as small SVG drawings for the page: positions only, colours and dashes come from the page."""

from __future__ import annotations

from dataclasses import dataclass

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.report.plot_lines import Point
from lmc_repro.report.plots import Panel, ValuePlot
from lmc_repro.report.values_figure import STYLES, dodge, unbroken
from lmc_repro.report.words import NO_VERDICT, points

WIDTH, HEIGHT = 300.0, 170.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 8.0, 8.0, 34.0


@dataclass(frozen=True)
class Drawn:
    """A line of a chart: `style` numbers its class; positions are texts that SVG reads."""

    label: str
    style: int
    lines: list[str]
    bars: list[tuple[str, str, str]]
    band: str
    means: list[tuple[str, str]]
    dots: list[tuple[str, str]]
    lost: list[str]


@dataclass(frozen=True)
class Chart:
    """A panel: what is said of it, and its lines. Marks are (position, text)."""

    title: str
    said: str
    lines: list[Drawn]
    across: list[tuple[str, str]]
    upward: list[tuple[str, str]]
    threshold: str | None


def charts(plot: ValuePlot) -> list[Chart]:
    """Return the panels of a plot, those of test first."""
    names = list(dict.fromkeys(line.label for panel in plot.panels["test"] for line in panel.series))
    return [
        _chart(plot, plot.panels[split][place], names)
        for split in reversed(SPLITS)
        for place in range(len(plot.groups))
    ]


def key(plot: ValuePlot) -> list[Drawn]:
    """Return one line of each label, for the key below the panels."""
    return list({line.label: line for chart in charts(plot) for line in chart.lines}.values())


def _chart(plot: ValuePlot, panel: Panel, names: list[str]) -> Chart:
    low, high = plot.width

    def x(value: float) -> str:
        return f"{_LEFT + (WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low):.1f}"

    def y(value: float) -> str:
        return f"{HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * plot.scale.up(value):.1f}"

    lines, said = [], []
    for place, series in enumerate(panel.series):
        shift = 0.0 if plot.over_training else dodge(place, len(panel.series))
        there = [(x(point.x + shift), point) for point in series.points if point.seeds]
        edge = [f"{at},{y(max(p.seeds))}" for at, p in there] + [f"{at},{y(min(p.seeds))}" for at, p in there[::-1]]
        lines.append(
            Drawn(
                label=series.label,
                style=names.index(series.label) % len(STYLES),
                lines=[" ".join(f"{x(p.x + shift)},{y(p.mean)}" for p in part) for part in unbroken(series)],
                bars=[] if plot.over_training else [(at, y(max(p.seeds)), y(min(p.seeds))) for at, p in there],
                band=" ".join(edge) if plot.over_training else "",
                means=[(at, y(p.mean)) for at, p in there],
                dots=[(at, y(value)) for at, p in there for value in p.seeds],
                lost=[] if plot.over_training else [x(p.x + shift) for p in series.points if not p.seeds],
            )
        )
        said.append(f"{series.label or panel.title}: {', '.join(map(_said, series.points))}")
    title = ", ".join(filter(None, (panel.title, panel.split)))
    return Chart(
        title=title,
        said=f"{plot.y_label}: {title}. {'; '.join(said)}",
        lines=lines,
        across=[(x(at), label) for at, label in plot.ticks],
        upward=[(y(mark), f"{mark:g}") for mark in plot.scale.marks],
        threshold=None if plot.threshold is None else y(plot.threshold),
    )


def _said(point: Point) -> str:
    return f"{point.name} {points(point.mean) if point.seeds else NO_VERDICT}"
