"""Figures of values: of a study the means that it asks for, along an axis or over training; of a report every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from lmc_repro.report.contents import StudyPart
from lmc_repro.report.figures import (
    FLAT,
    OWN_SCALE,
    QUIET,
    STYLES,
    drawing_style,
    finished,
    legend,
    make_panels,
    own_scales,
    render,
    wrapped,
)
from lmc_repro.report.grid import NO_VERDICT, ORDER, points
from lmc_repro.report.model import Figure
from lmc_repro.report.values import Y_LABELS, Series, ValuePlot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINEAR_UP_TO = 2.0
"""Points or percent, the threshold's size: above it the axis of values is logarithmic if it has to be."""

_LINE: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.4, "markeredgewidth": 0.6, "markerfacecolor": "white"}
_THRESHOLD: dict[str, Any] = {"color": QUIET, "linewidth": 0.6, "linestyle": (0, (1, 2))}


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
    ticks = [wrapped(name, (wide - 0.5) / len(plot.ticks), 7.0) for _, name in plot.ticks]
    height = (2.6 if down == 1 else 3.4) + 0.11 * max(tick.count("\n") for tick in ticks)
    styles = {name: STYLES[i % len(STYLES)] for i, name in enumerate(dict.fromkeys(line.label for line in plot.series))}
    top = 1.08 * max(plot.highest, plot.threshold or 0.0, 0.05)
    bent = top > 5 * LINEAR_UP_TO
    label = Y_LABELS[plot.value] + (f" (logarithmic above {LINEAR_UP_TO:g})" if bent else "")
    lost = any(not point.seeds for line in plot.series if line.split == "test" for point in line.points)
    note = "" if not lost else " (no mark: no verdict)" if plot.over_training else " (x: no verdict)"
    with drawing_style():
        drawing, grid = make_panels(down, across, inches, height, shared="all" if down == 1 else "col")
        places = dict(zip(product(ORDER, names), grid.flat, strict=True))
        for (split, panel), axes in places.items():
            _draw_values(axes, plot, [s for s in plot.series if (s.split, s.panel) == (split, panel)], styles)
            if down == 1:
                axes.set_title(split, fontsize=8.0)
            elif split == ORDER[0]:
                axes.set_title(wrapped(panel, wide - 0.4, 8.0), fontsize=8.0)
        for panel in names:
            found = [v for line in plot.series if line.panel == panel for point in line.points for v in point.seeds]
            own = 1.08 * max(*found, plot.threshold or 1.0, 0.0)
            _scale([places[split, panel] for split in ORDER], plot, ticks, top, own, bent)
        if down > 1:
            for split, row in zip(ORDER, grid, strict=True):
                row[0].set_ylabel(split)
        for axes in grid[-1]:
            axes.set_xlabel(wrapped(plot.x_label + note, wide - 0.3, 8.0))
        handles: list[Any] = [Line2D([], [], label=n, **_LINE, **style) for n, style in styles.items() if any(styles)]
        if plot.threshold is not None:
            handles.append(Line2D([], [], label=f"threshold, {plot.threshold:g} points", **_THRESHOLD))
        range_ = "band" if plot.over_training else "bar"
        seeds = f"a dot per trainer seed, a light {range_} over all of them, their mean"
        legend(drawing, [*handles, *own_scales(grid.flat)], seeds)
        values = "; ".join(
            f"{', '.join(filter(None, (line.split, line.panel, line.label)))}: "
            + ", ".join(f"{p.name} {points(p.mean) if p.seeds else NO_VERDICT}" for p in line.points)
            for line in plot.series
        )
        return finished(drawing, f"{study}-values", f"{label}, {title}. Means: {values}.", label=label)


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
    axes, joined = column[0], 0.434  # decades that the linear part takes: it meets the logarithmic one without a corner
    if bent:
        axes.set_yscale("symlog", linthresh=LINEAR_UP_TO, linscale=joined)
    filled, whole = axes.yaxis.get_transform().transform([own, top])
    if filled <= FLAT * whole:
        top = own
        for panel in column:
            panel.set_facecolor(OWN_SCALE)
    if bent:
        values = [mark for mark in (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if mark <= top]
        axes.set_yticks(values, [f"{mark:g}" for mark in values])
    axes.set_ylim(0.0, top)
    xs = [x for x, _ in plot.ticks]
    if plot.over_training:
        axes.set_xscale("symlog", linthresh=1.0, linscale=joined)
        axes.set_xlim(0.0, 1.1 * xs[-1] or 1.0)
    else:
        axes.set_xlim(xs[0] - 0.35, xs[-1] + 0.35)
    axes.set_xticks(xs, ticks)


VERDICTS = {"connected": ("#12436d", "o"), "unequal ends": ("#8a5a00", "D"), "disconnected": ("#a40e26", "^")}
"""Colour and marker of each verdict."""

STRIP_TICKS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def strip_figure(parts: Sequence[StudyPart]) -> Figure:
    """Return a line per study with a mark per cell at its mean test barrier, by verdict on test.

    The axis is linear up to LINEAR_UP_TO and logarithmic above. Equal results give equal bytes.
    """
    from matplotlib.figure import Figure as Drawing

    drawn = [(part, part.table) for part in parts if part.table is not None]
    with drawing_style():
        drawing = Drawing(figsize=(7.4, 0.27 * len(drawn) + 0.9), layout="constrained")
        axes = drawing.add_subplot()
        for y, (_, table) in enumerate(drawn):
            for place, entry in enumerate(table.entries):
                mean, verdict = entry.mean("test"), entry.verdict("test")
                if mean is not None and verdict is not None:
                    colour, marker = VERDICTS[verdict]
                    height = y + 0.14 * (place % 5 - 2)  # marks of equal cells stand above one another
                    axes.plot([mean], [height], marker, color=colour, markersize=4.2, alpha=0.8, markeredgewidth=0.0)
        for threshold in {table.results.threshold for _, table in drawn}:
            axes.axvline(threshold, color=QUIET, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
        highest = max([entry.mean("test") or 0.0 for _, table in drawn for entry in table.entries] or [0.0])
        axes.set_xscale("symlog", linthresh=LINEAR_UP_TO, linscale=0.434)
        top = next((tick for tick in STRIP_TICKS[3:] if tick >= highest), 100.0)
        ticks = [tick for tick in STRIP_TICKS if tick <= top]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_xlim(-0.12, 1.1 * top)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_yticks(range(len(drawn)), [part.title for part, _ in drawn])
        axes.tick_params(axis="y", length=0, labelcolor="black", labelsize=8.0)
        axes.set_xlabel(f"mean test barrier, points (logarithmic above {LINEAR_UP_TO:g})")
        axes.grid(axis="y", color=QUIET, alpha=0.15, linewidth=0.6)
        for name, (colour, marker) in VERDICTS.items():
            axes.plot([], [], marker, color=colour, markersize=4.2, label=name)
        drawing.legend(loc="outside upper right", ncols=len(VERDICTS))
        outcomes = "; ".join(f"{part.title}: {part.outcome.rstrip('.')}" for part, _ in drawn)
        return Figure("barriers", f"Mean test barrier of every cell. {outcomes}.", render(drawing, 150))
