"""Values of a study along an axis or over training, as data and as a figure; every cell of a report as a figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.pair import judge_epoch
from lmc_repro.report import figures
from lmc_repro.report.contents import StudyPart
from lmc_repro.report.grid import NO_VERDICT, ORDER, StudyTable, by_seed, points
from lmc_repro.report.model import Figure
from lmc_repro.results.schema import CellRecord, PairRecord, StudyResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Y_LABELS = {"barrier": "barrier, points", "normalised": "normalised barrier, %"}

LINEAR_UP_TO = 2.0
"""Points or percent, the threshold's size: above it the axis of values is logarithmic if it has to be."""
JOINED = 0.434
"""Decades that the linear part of an axis takes: it meets the logarithmic one without a corner."""
TICKS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)

VERDICTS = {"connected": ("#12436d", "o"), "unequal ends": ("#8a5a00", "D"), "disconnected": ("#a40e26", "^")}
"""Colour and marker of each verdict."""

_LINE: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.4, "markeredgewidth": 0.6, "markerfacecolor": "white"}
_THRESHOLD: dict[str, Any] = {"color": figures.QUIET, "linewidth": 0.6, "linestyle": (0, (1, 2))}


@dataclass(frozen=True)
class Point:
    """A cell (or a cell at an epoch), `name` where it stands: its values over trainer seeds; none is no verdict."""

    x: float
    seeds: tuple[float, ...]
    name: str

    @property
    def mean(self) -> float:
        """The mean over trainer seeds."""
        return statistics.fmean(self.seeds)


@dataclass(frozen=True)
class Series:
    """A line of one split in a panel: cells from left to right; only those that were run."""

    split: SplitName
    panel: str
    label: str
    points: tuple[Point, ...]

    @property
    def parts(self) -> list[list[Point]]:
        """The parts of the line between points without a verdict, which are never connected."""
        return [list(part) for there, part in groupby(self.points, key=lambda point: bool(point.seeds)) if there]


@dataclass(frozen=True)
class ValuePlot:
    """A plot of both splits, test first, panel by panel. `ticks` are (x, label); `highest` is the largest value."""

    value: str
    x_label: str
    ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    highest: float
    threshold: float | None
    over_training: bool


Line = tuple[str, str, list[tuple[float, str, CellRecord, float | None]]]
"""The panel of a line, its label, and of each point x, name, cell and the epoch that it shows (None: the last one)."""


def value_plot(table: StudyTable) -> ValuePlot | None:
    """Return the plot that the study requests, or None where it requests none or has no value to show."""
    results, show = table.results, table.results.show
    if show is None:
        return None
    over_training = show.x == "epochs"
    lines, ticks = _over_training(table) if over_training else _along(table, show.x == "rows")
    panels = list(dict.fromkeys(panel for panel, _, _ in lines))
    series = []
    for split in ORDER:
        for panel, label, places in sorted(lines, key=lambda line: panels.index(line[0])):
            found = []
            for x, name, cell, epoch in places:
                measured = (
                    (pair.trainer_seed, _barriers(results, cell, pair, epoch).get(split)) for pair in cell.pairs
                )
                seeds = by_seed((seed, getattr(barriers, show.value, None)) for seed, barriers in measured)
                found.append(Point(x, tuple(seeds.values()), name))
            series.append(Series(split, panel, label, tuple(found)))
    highest = max((value for line in series for point in line.points for value in point.seeds), default=None)
    if highest is None:
        return None
    threshold = results.threshold if show.value == "barrier" else None
    return ValuePlot(show.value, show.x_label, ticks, tuple(series), highest, threshold, over_training)


def _along(table: StudyTable, rows: bool) -> tuple[list[Line], tuple[tuple[float, str], ...]]:
    """Return lines from row to row (or column to column), one for each entry of the other axis that was run."""
    along, across = (table.rows, table.columns) if rows else (table.columns, table.rows)
    cells = {(e.row.key, e.column.key) if rows else (e.column.key, e.row.key): e.cell for e in table.entries}
    run = [a for a in along if any(cells[a.key, other.key] for other in across)]
    names = shortened([a.label for a in run])
    others = [other for other in across if any(cells[a.key, other.key] for a in run)]
    lines: list[Line] = []
    for panel, label, other in zip(*grouped([other.label for other in others]), others, strict=True):
        there = ((float(x), names[x], cells[a.key, other.key]) for x, a in enumerate(run))
        lines.append((panel, label, [(x, name, cell, None) for x, name, cell in there if cell is not None]))
    return lines, tuple(enumerate(names))


def _over_training(table: StudyTable) -> tuple[list[Line], tuple[tuple[float, str], ...]]:
    """Return a line per cell over its evaluation epochs; its column is the panel, its row the line."""
    run = [(e.column.label, e.row.label, e.cell) for e in table.entries if e.cell is not None]
    found = {
        cell.key: sorted({epoch for key, _, epoch, _ in table.results.curves if key == cell.key}) for *_, cell in run
    }
    lines: list[Line] = [
        (panel, label, [(epoch, f"epoch {epoch:g}", cell, epoch) for epoch in found[cell.key]])
        for panel, label, cell in run
    ]
    return lines, epoch_ticks(sorted(set().union(*found.values())))


def _barriers(
    results: StudyResults, cell: CellRecord, pair: PairRecord, epoch: float | None
) -> Mapping[SplitName, Barriers | None]:
    """Return a pair's barriers at an epoch, before the last one from its curves; none unless both ends are trained."""
    if epoch in (None, pair.epoch):
        return pair.barriers
    keys = {split: (cell.key, pair.pair, epoch, split) for split in SPLITS}
    if epoch is None or not results.curves.keys() >= set(keys.values()):
        return {}
    curves = {split: results.curves[key] for split, key in keys.items()}
    first, last = (0 if any(curve.loss[end] is None for curve in curves.values()) else None for end in (0, -1))
    return judge_epoch(epoch, curves, (first, last), 1, pair.largest_class).barriers or {}


def epoch_ticks(epochs: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Return round epochs among those given, both ends included, far enough apart to be read."""
    round_ones = {0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
    first, last = epochs[0], epochs[-1]
    found = dict.fromkeys([first, *(e for e in epochs if e in round_ones and e < 0.75 * last), last])
    return tuple((epoch, f"{epoch:g}") for epoch in found)


def shortened(labels: Sequence[str]) -> list[str]:
    """Return labels without the first word that all of them share: `slope 0.8` becomes `0.8`."""
    first = {label.partition(" ")[0] for label in labels}
    rests = [label.partition(" ")[2] for label in labels]
    return rests if len(labels) > 1 and len(first) == 1 and all(rests) else list(labels)


def grouped(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (group, name) of labels such as `4-Layer, SGD high`; one group where that parts nothing."""
    parts = [label.partition(", ") for label in labels]
    groups = [first for first, _, _ in parts]
    if all(rest for _, _, rest in parts) and len(set(groups)) < len(labels):
        return groups, [rest for _, _, rest in parts]
    return [""] * len(labels), list(labels)


def values_figure(plot: ValuePlot, title: str, study: str) -> Figure:
    """Return a study's values: a line of means, each trainer seed a small dot, their range a light bar or band.

    Test stands beside train; where lines are grouped it stands above, a panel per group. The axis of values is linear
    up to LINEAR_UP_TO and logarithmic above where values are large; that of epochs is linear up to 1. Panels whose
    values would all lie at the bottom of it have a scale of their own. There is no title, which a page and a paper set
    beside it. Equal plots give equal bytes.
    """
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(line.panel for line in plot.series))
    down, across = (len(ORDER), len(names)) if len(names) > 1 else (1, len(ORDER))
    inches = 7.0 if across < 4 else 8.4
    wide = (inches - 0.4) / across
    ticks = [figures.wrapped(name, (wide - 0.5) / len(plot.ticks), 7.0) for _, name in plot.ticks]
    height = (2.6 if down == 1 else 3.4) + 0.11 * max(tick.count("\n") for tick in ticks)
    styles = {
        name: figures.STYLES[i % len(figures.STYLES)]
        for i, name in enumerate(dict.fromkeys(line.label for line in plot.series))
    }
    top = 1.08 * max(plot.highest, plot.threshold or 0.0, 0.05)
    bent = top > 5 * LINEAR_UP_TO
    label = Y_LABELS[plot.value] + (f" (logarithmic above {LINEAR_UP_TO:g})" if bent else "")
    lost = any(not point.seeds for line in plot.series if line.split == "test" for point in line.points)
    note = "" if not lost else " (no mark: no verdict)" if plot.over_training else " (x: no verdict)"
    with figures.drawing_style():
        drawing, grid = figures.make_panels(down, across, inches, height, shared="all" if down == 1 else "col")
        places = dict(zip(product(ORDER, names), grid.flat, strict=True))
        for (split, panel), axes in places.items():
            _draw_values(axes, plot, [s for s in plot.series if (s.split, s.panel) == (split, panel)], styles)
            if down == 1:
                axes.set_title(split, fontsize=8.0)
            elif split == ORDER[0]:
                axes.set_title(figures.wrapped(panel, wide - 0.4, 8.0), fontsize=8.0)
        for panel in names:
            found = [v for line in plot.series if line.panel == panel for point in line.points for v in point.seeds]
            own = 1.08 * max(*found, plot.threshold or 1.0, 0.0)
            _scale([places[split, panel] for split in ORDER], plot, ticks, top, own, bent)
        if down > 1:
            for split, row in zip(ORDER, grid, strict=True):
                row[0].set_ylabel(split)
        for axes in grid[-1]:
            axes.set_xlabel(figures.wrapped(plot.x_label + note, wide - 0.3, 8.0))
        handles: list[Any] = [Line2D([], [], label=n, **_LINE, **style) for n, style in styles.items() if any(styles)]
        if plot.threshold is not None:
            handles.append(Line2D([], [], label=f"threshold, {plot.threshold:g} points", **_THRESHOLD))
        range_ = "band" if plot.over_training else "bar"
        seeds = f"a dot per trainer seed, a light {range_} over all of them, their mean"
        figures.legend(drawing, [*handles, *figures.own_scales(grid.flat)], seeds)
        values = "; ".join(
            f"{', '.join(filter(None, (line.split, line.panel, line.label)))}: "
            + ", ".join(f"{p.name} {points(p.mean) if p.seeds else NO_VERDICT}" for p in line.points)
            for line in plot.series
        )
        return figures.finished(drawing, f"{study}-values", f"{label}, {title}. Means: {values}.", label=label)


def _draw_values(axes: Axes, plot: ValuePlot, lines: Sequence[Series], styles: Mapping[str, dict[str, Any]]) -> None:
    count = len(lines)
    for place, series in enumerate(lines):
        style = styles[series.label]
        # Lines stand a little apart, so that they do not hide one another.
        shift = 0.0 if plot.over_training else (place - (count - 1) / 2) * min(0.12, 0.5 / count)
        for part in series.parts:
            xs = [point.x + shift for point in part]
            lows, highs = ([end(point.seeds) for point in part] for end in (min, max))
            if plot.over_training:
                axes.fill_between(xs, lows, highs, color=style["color"], alpha=0.15, linewidth=0.0)
            else:
                axes.vlines(xs, lows, highs, color=style["color"], alpha=0.3, linewidth=2.4)
            dots = [(x, value) for x, point in zip(xs, part, strict=True) for value in point.seeds]
            axes.plot([x for x, _ in dots], [y for _, y in dots], ".", markersize=3.0, color=style["color"])
            axes.plot(xs, [point.mean for point in part], **_LINE, **style)
        lost = [point.x + shift for point in series.points if not point.seeds and not plot.over_training]
        bottom = axes.get_xaxis_transform()
        axes.plot(lost, [0.03] * len(lost), "x", markersize=3.6, color=style["color"], transform=bottom)
    if plot.threshold is not None:
        axes.axhline(plot.threshold, zorder=1, **_THRESHOLD)


def _scale(column: Sequence[Axes], plot: ValuePlot, ticks: Sequence[str], top: float, own: float, bent: bool) -> None:
    """Set the axes of the panels of one group: the scale up to `top`, or their own if they would fill too little.

    `own` is the end of its own scale, `ticks` the labels of the places.
    """
    axes = column[0]
    if bent:
        axes.set_yscale("symlog", linthresh=LINEAR_UP_TO, linscale=JOINED)
    filled, whole = axes.yaxis.get_transform().transform([own, top])
    if filled <= figures.FLAT * whole:
        top = own
        for panel in column:
            panel.set_facecolor(figures.OWN_SCALE)
    if bent:
        axes.set_yticks(*_ticks(top))
    axes.set_ylim(0.0, top)
    xs = [x for x, _ in plot.ticks]
    if plot.over_training:
        axes.set_xscale("symlog", linthresh=1.0, linscale=JOINED)
        axes.set_xlim(0.0, 1.1 * xs[-1] or 1.0)
    else:
        axes.set_xlim(xs[0] - 0.35, xs[-1] + 0.35)
    axes.set_xticks(xs, ticks)


def _ticks(top: float) -> tuple[list[float], list[str]]:
    """Return the places and labels of ticks up to `top`."""
    there = [tick for tick in TICKS if tick <= top]
    return there, [f"{tick:g}" for tick in there]


def strip_figure(parts: Sequence[StudyPart]) -> Figure:
    """Return a line per study with a mark per cell at its mean test barrier, by verdict on test.

    The axis is linear up to LINEAR_UP_TO and logarithmic above. Equal results give equal bytes.
    """
    drawn = [(part, part.table) for part in parts if part.table is not None]
    with figures.drawing_style():
        drawing, ((axes,),) = figures.make_panels(1, 1, 7.4, 0.27 * len(drawn) + 0.9)
        for y, (_, table) in enumerate(drawn):
            for place, entry in enumerate(table.entries):
                mean, verdict = entry.mean("test"), entry.verdict("test")
                if mean is not None and verdict is not None:
                    colour, marker = VERDICTS[verdict]
                    height = y + 0.14 * (place % 5 - 2)  # marks of equal cells stand above one another
                    axes.plot([mean], [height], marker, color=colour, markersize=4.2, alpha=0.8, markeredgewidth=0.0)
        for threshold in {table.results.threshold for _, table in drawn}:
            axes.axvline(threshold, zorder=1, **_THRESHOLD)
        highest = max([entry.mean("test") or 0.0 for _, table in drawn for entry in table.entries] or [0.0])
        axes.set_xscale("symlog", linthresh=LINEAR_UP_TO, linscale=JOINED)
        top = next((tick for tick in TICKS[3:] if tick >= highest), 100.0)
        axes.set_xticks(*_ticks(top))
        axes.set_xticks([], minor=True)
        axes.set_xlim(-0.12, 1.1 * top)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_yticks(range(len(drawn)), [part.title for part, _ in drawn])
        axes.tick_params(axis="y", length=0, labelcolor="black", labelsize=8.0)
        axes.set_xlabel(f"mean test barrier, points (logarithmic above {LINEAR_UP_TO:g})")
        axes.grid(axis="y", color=figures.QUIET, alpha=0.15, linewidth=0.6)
        for name, (colour, marker) in VERDICTS.items():
            axes.plot([], [], marker, color=colour, markersize=4.2, label=name)
        drawing.legend(loc="outside upper right", ncols=len(VERDICTS))
        outcomes = "; ".join(f"{part.title}: {part.outcome.rstrip('.')}" for part, _ in drawn)
        return Figure("barriers", f"Mean test barrier of every cell. {outcomes}.", figures.render(drawing, 150))
