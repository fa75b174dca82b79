"""A study's figures: the paths of its cells, and the values that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.report.drawing import LINES, QUIET, STYLES, UNTRAINED, drawing_style, render
from lmc_repro.report.model import Figure
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.values import Y_LABELS, Panel, ValuePlot
from lmc_repro.report.words import NO_VERDICT, ORDER, means, outcome, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

LINEAR_UP_TO = 2.0
"""Points or percent, the threshold's size: above it the axis of values is logarithmic if it has to be."""

_DPI = 150
_LONG = 7  # characters of a tick's label that stand upright beside its neighbours
_LINE: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.4, "markeredgewidth": 0.6, "markerfacecolor": "white"}


def paths_figure(table: StudyTable) -> Figure:
    """Return the grid of a study as small pictures: error in percent over alpha at the last epoch, a panel per cell.

    One line per pair, test solid and train dashed. All panels share both axes, so that a flat line is a connected
    pair. Pairs without a verdict are grey. Above each panel stand its mean barriers, test / train. Rows and columns
    that were not run at all take no room. Equal results give equal bytes.
    """
    ran = [entry for entry in table.entries if entry.cell] or list(table.entries)
    rows = [row for row in table.rows if any(entry.row == row for entry in ran)]
    columns = [column for column in table.columns if any(entry.column == column for entry in ran)]
    from matplotlib.ticker import MaxNLocator

    with drawing_style():
        drawing, grid = _panels(len(rows), len(columns), 1.45 * len(columns) + 0.6, 1.12 * len(rows) + 0.7)
        for i, (row, line) in enumerate(zip(rows, grid, strict=True)):
            entries = {entry.column: entry for entry in table.line(row)}
            line[0].set_ylabel(row.label.replace(", ", "\n"))
            for column, axes in zip(columns, line, strict=True):
                note = _draw_paths(axes, table, entries[column])
                axes.set_title(f"{column.label}\n{note}" if i == 0 else note, fontsize=7.0, pad=2.0)
        top = max(axes.get_ylim()[1] for axes in grid.flat)
        for axes in grid.flat:  # axes that share their scales would all draw their ticks, which takes most of the time
            axes.set(xlim=(0.0, 1.0), ylim=(0.0, top), xticks=[], yticks=[])
        for axes in grid[-1]:
            axes.set_xticks((0.0, 0.5, 1.0), ("0", "0.5", "1"))
        for axes in grid[:, 0]:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        drawing.supxlabel("alpha", fontsize=8.0)
        drawing.supylabel("error, %", fontsize=8.0)
        handles = [grid[0][0].plot([], [], label=split, **LINES[split])[0] for split in ORDER]
        drawing.legend(handles=handles, loc="outside upper right", ncols=2)
        drawing.suptitle(table.results.title, x=0.01, ha="left", fontsize=9.0)
        said = "; ".join(f"{entry.label}: {_said(entry)}" for entry in table.entries)
        alt = f"Error along the path, {table.results.title}. Mean barrier, test / train, and verdict on test: {said}."
        return Figure(table.results.study, alt, _rendered(drawing))


def _draw_paths(axes: Axes, table: StudyTable, entry: Entry) -> str:
    """Draw a cell's paths, train below test, and return what is to stand above."""
    if entry.cell is None:
        axes.text(0.5, 0.5, outcome(entry), transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return ""
    for split in SPLITS:
        for pair in entry.cell.pairs:
            curve = table.results.curves[entry.cell.key, pair.pair, pair.epoch, split]
            style = LINES[split] | (UNTRAINED if pair.barriers[split] is None else {})
            axes.plot(curve.alphas, [100.0 * error for error in curve.errors], **style)
    return means(entry.cell) if entry.n else NO_VERDICT


def _said(entry: Entry) -> str:
    word = outcome(entry)
    return f"{means(entry.cell)}, {word}" if entry.cell is not None and entry.n else word


def values_figure(plot: ValuePlot, title: str, study: str) -> Figure:
    """Return a study's values: a line of means, each trainer seed a small dot, their range a light bar or band.

    Test stands above train, a panel per group of lines. The axis of values is linear up to LINEAR_UP_TO and
    logarithmic above where values are large; that of epochs is linear up to 1. Equal plots give equal bytes.
    """
    across = len(plot.panels["test"])
    wide = max(3.6, 0.42 * len(plot.ticks) + 0.6) if across < 3 else 2.4
    names = list(dict.fromkeys(line.label for panel in plot.panels["test"] for line in panel.series))
    bent = 1.08 * max(plot.highest, plot.threshold or 0.0, 0.05) > 5 * LINEAR_UP_TO
    label = Y_LABELS[plot.value] + (f" (logarithmic above {LINEAR_UP_TO:g})" if bent else "")
    with drawing_style():
        drawing, grid = _panels(2, across, wide * across + 0.7, 4.4, shared=True)
        for line, split in zip(grid, ORDER, strict=True):
            line[0].set_ylabel(split)
            for axes, panel in zip(line, plot.panels[split], strict=True):
                _draw_values(axes, plot, panel, names)
                axes.set_title(panel.title if split == ORDER[0] else "", fontsize=8.0)
        _scale(grid[0][0], plot, bent)
        if max(len(name) for _, name in plot.ticks) > _LONG:
            for axes in grid[-1]:
                axes.tick_params(axis="x", rotation=35)
        lost = any(not p.seeds for panel in plot.panels["test"] for line in panel.series for p in line.points)
        note = "" if not lost else " (no mark: no verdict)" if plot.over_training else " (x: no verdict)"
        for axes in grid[-1]:
            axes.set_xlabel(plot.x_label + note)
        drawing.supylabel(label, fontsize=8.0)
        drawing.suptitle(title, x=0.01, ha="left", fontsize=9.0)
        styles = {name: STYLES[i % len(STYLES)] for i, name in enumerate(names)}
        handles = [grid[0][0].plot([], [], label=name, **_LINE, **style)[0] for name, style in styles.items()]
        if any(names):
            columns = max(1, int((wide * across + 0.7) / (0.07 * max(map(len, names)) + 0.7)))
            drawing.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=3.0)
        said = "; ".join(
            f"{split}{f', {panel.title}' if panel.title else ''}, {series.label}: "
            + ", ".join(f"{p.name} {points(p.mean) if p.seeds else NO_VERDICT}" for p in series.points)
            for split in ORDER
            for panel in plot.panels[split]
            for series in panel.series
        )
        return Figure(f"{study}-values", f"{label}, {title}. Means: {said}.", _rendered(drawing))


def _draw_values(axes: Axes, plot: ValuePlot, panel: Panel, names: list[str]) -> None:
    count = len(panel.series)
    for place, series in enumerate(panel.series):
        style = STYLES[names.index(series.label) % len(STYLES)]
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
            axes.plot([x for x, _ in dots], [y for _, y in dots], ".", markersize=3.4, color=style["color"], alpha=0.75)
            axes.plot(xs, [point.mean for point in part], **_LINE, **style)
        lost = [point.x + shift for point in series.points if not point.seeds and not plot.over_training]
        bottom = axes.get_xaxis_transform()
        axes.plot(lost, [0.03] * len(lost), "x", markersize=3.6, color=style["color"], transform=bottom)
    if plot.threshold is not None:
        axes.axhline(plot.threshold, color=QUIET, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)


def _scale(axes: Axes, plot: ValuePlot, bent: bool) -> None:
    """Set the axes that all panels share."""
    joined = 0.434  # decades that the linear part takes: it meets the logarithmic one without a corner
    top = 1.08 * max(plot.highest, plot.threshold or 0.0, 0.05)
    if bent:
        axes.set_yscale("symlog", linthresh=LINEAR_UP_TO, linscale=joined)
        ticks = [mark for mark in (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if mark <= top]
        axes.set_yticks(ticks, [f"{mark:g}" for mark in ticks])
    axes.set_ylim(0.0, top)
    xs = [x for x, _ in plot.ticks]
    if plot.over_training:
        axes.set_xscale("symlog", linthresh=1.0, linscale=joined)
        axes.set_xlim(0.0, 1.1 * xs[-1] or 1.0)
    else:
        axes.set_xlim(xs[0] - 0.35, xs[-1] + 0.35)
    axes.set_xticks(xs, [name for _, name in plot.ticks])


def _panels(rows: int, columns: int, width: float, height: float, shared: bool = False) -> tuple[Drawing, Any]:
    """Return a figure of this size in inches, and its rows of axes, which may share both scales."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, height), layout="constrained")
    return drawing, drawing.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False)


def _rendered(drawing: Drawing) -> dict[str, bytes]:
    drawing.draw_without_rendering()  # places everything, once for both kinds
    drawing.set_layout_engine(None)
    return render(drawing, _DPI)
