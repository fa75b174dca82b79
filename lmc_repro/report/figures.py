"""Figures with the same bytes wherever they are drawn: the paths of a study, the values that it asks for, one pair.

They have one quiet style, no dates, no versions, and nothing of a user's settings.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.pair import PairTask
from lmc_repro.barriers.results import PairResult
from lmc_repro.config.base import mark_text
from lmc_repro.config.plan import COMMON, ends_at
from lmc_repro.report.grid import NO_VERDICT, ORDER, Entry, StudyTable, means, points, said
from lmc_repro.report.model import Figure
from lmc_repro.report.values import Y_LABELS, Series, ValuePlot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from lmc_repro.barriers.barrier import Barriers
    from lmc_repro.barriers.curve import Curve, SplitName

QUIET = "#6b6b6b"
# Lines differ in dashes and markers as well as in colour, so they can be distinguished in grey.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#12436d", "linestyle": "-", "marker": "o"},
    {"color": "#e08214", "linestyle": (0, (4, 2)), "marker": "s"},
    {"color": "#4d4d4d", "linestyle": (0, (1, 1.5)), "marker": "^"},
    {"color": "#7b3294", "linestyle": (0, (6, 2, 1, 2)), "marker": "D"},
    {"color": "#1b7a5a", "linestyle": (0, (2, 2)), "marker": "v"},
    {"color": "#8a5a00", "linestyle": (0, (8, 2)), "marker": "P"},
)
LINES: dict[str, dict[str, Any]] = {
    split: {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.2}
    for split, style in zip(ORDER, STYLES, strict=False)
}
UNTRAINED = {"color": "#b0b0b0", "linewidth": 0.8}
"""A pair without a verdict: there, but not to be read as flat."""

COLOURS = {
    "#12436d": "test", "#e08214": "train", "#4d4d4d": "third", "#7b3294": "fourth", "#1b7a5a": "fifth",
    "#8a5a00": "sixth", QUIET: "quiet", "#b0b0b0": "untrained", "#ffffff": "paper", "#000000": "ink",
}  # fmt: skip
"""The colour of every line and letter, and its name on a page, which has others for a dark screen and for print."""

LINEAR_UP_TO = 2.0
"""Points or percent, the threshold's size: above it the axis of values is logarithmic if it has to be."""

_LONG = 7  # characters of a tick's label that stand upright beside its neighbours
_LINE: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.4, "markeredgewidth": 0.6, "markerfacecolor": "white"}
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "lmc_repro",  # element ids are drawn from it; by default from a random number
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.0,
    "text.parse_math": False,  # a title is what it says
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("axes.titlesize", "axes.labelsize"), 8.0),
    **dict.fromkeys(("xtick.color", "ytick.color"), QUIET),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7.0),
    **dict.fromkeys(("xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw with matplotlib's defaults and this project's style, ignoring the user's matplotlibrc."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def render(drawing: Drawing, dpi: int, kinds: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """Return a figure's bytes by kind, equal for equal drawings; call it inside `drawing_style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not isinstance(drawing.canvas, FigureCanvasAgg):
        FigureCanvasAgg(drawing)
    unsigned = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    found = {}
    for kind in kinds:
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=kind, dpi=dpi, metadata=unsigned[kind])
        found[kind] = buffer.getvalue()
    return found


def paths_figure(table: StudyTable) -> Figure:
    """Return the grid of a study as small pictures: error in percent over alpha at the last epoch, a panel per cell.

    One line per pair, test solid and train dashed. All panels share both axes, so that a flat line is a connected
    pair. Pairs without a verdict are grey. Above each panel stand its mean barriers, test / train. Rows and columns
    that were not run at all take no room. Equal results give equal bytes.
    """
    from matplotlib.ticker import MaxNLocator

    ran = [entry for entry in table.entries if entry.cell] or list(table.entries)
    rows = [row for row in table.rows if any(entry.row == row for entry in ran)]
    columns = [column for column in table.columns if any(entry.column == column for entry in ran)]
    entries = {(entry.row, entry.column): entry for entry in table.entries}
    with drawing_style():
        drawing, grid = _panels(len(rows), len(columns), 1.45 * len(columns) + 0.6, 1.12 * len(rows) + 0.7)
        for row, line in zip(rows, grid, strict=True):
            line[0].set_ylabel(row.label.replace(", ", "\n"))
            for column, axes in zip(columns, line, strict=True):
                note = _draw_paths(axes, table, entries[row, column])
                axes.set_title(f"{column.label}\n{note}" if row is rows[0] else note, fontsize=7.0, pad=2.0)
        top = max(axes.get_ylim()[1] for axes in grid.flat)
        for axes in grid.flat:  # axes that share their scales would all draw their ticks, which takes most of the time
            axes.set(xlim=(0.0, 1.0), ylim=(0.0, top), xticks=[], yticks=[])
        for axes in grid[-1]:
            axes.set_xticks((0.0, 0.5, 1.0), ("0", "0.5", "1"))
        for axes in grid[:, 0]:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        drawing.supxlabel("alpha", fontsize=8.0)
        handles = [grid[0][0].plot([], [], label=split, **LINES[split])[0] for split in ORDER]
        drawing.legend(handles=handles, loc="outside upper right", ncols=2)
        title = table.results.title
        cells = "; ".join(f"{entry.label}: {said(entry)}" for entry in table.entries)
        alt = f"Error along the path, {title}. Mean barrier, test / train, and verdict on test: {cells}."
        return _finished(drawing, table.results.study, alt, title, "error, %")


def _draw_paths(axes: Axes, table: StudyTable, entry: Entry) -> str:
    """Draw a cell's paths, train below test, and return the text above them."""
    if entry.cell is None:
        axes.text(0.5, 0.5, entry.outcome, transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return ""
    for split in SPLITS:
        for pair in entry.cell.pairs:
            curve = table.results.curves[entry.cell.key, pair.pair, pair.epoch, split]
            style = LINES[split] | (UNTRAINED if pair.barriers[split] is None else {})
            axes.plot(curve.alphas, [100.0 * error for error in curve.errors], **style)
    return means(entry.cell) if entry.n else NO_VERDICT


def values_figure(plot: ValuePlot, title: str, study: str) -> Figure:
    """Return a study's values: a line of means, each trainer seed a small dot, their range a light bar or band.

    Test stands above train, a panel per group of lines. The axis of values is linear up to LINEAR_UP_TO and
    logarithmic above where values are large; that of epochs is linear up to 1. Equal plots give equal bytes.
    """
    panels = list(dict.fromkeys(line.panel for line in plot.series))
    across = len(panels)
    width = (max(3.6, 0.42 * len(plot.ticks) + 0.6) if across < 3 else 2.4) * across + 0.7
    styles = {name: STYLES[i % len(STYLES)] for i, name in enumerate(dict.fromkeys(line.label for line in plot.series))}
    top = 1.08 * max(plot.highest, plot.threshold or 0.0, 0.05)
    bent = top > 5 * LINEAR_UP_TO
    label = Y_LABELS[plot.value] + (f" (logarithmic above {LINEAR_UP_TO:g})" if bent else "")
    lost = any(not point.seeds for line in plot.series if line.split == "test" for point in line.points)
    note = "" if not lost else " (no mark: no verdict)" if plot.over_training else " (x: no verdict)"
    with drawing_style():
        drawing, grid = _panels(2, across, width, 4.4, shared=True)
        for row, split in zip(grid, ORDER, strict=True):
            row[0].set_ylabel(split)
            for axes, panel in zip(row, panels, strict=True):
                _draw_values(axes, plot, [s for s in plot.series if (s.split, s.panel) == (split, panel)], styles)
                axes.set_title(panel if split == ORDER[0] else "", fontsize=8.0)
        _scale(grid[0][0], plot, top, bent)
        for axes in grid[-1]:
            axes.set_xlabel(plot.x_label + note)
            if max(len(name) for _, name in plot.ticks) > _LONG:
                axes.tick_params(axis="x", rotation=35)
        handles = [grid[0][0].plot([], [], label=name, **_LINE, **style)[0] for name, style in styles.items()]
        if any(styles):
            columns = max(1, int(width / (0.07 * max(map(len, styles)) + 0.7)))
            drawing.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=3.0)
        values = "; ".join(
            f"{', '.join(filter(None, (line.split, line.panel, line.label)))}: "
            + ", ".join(f"{p.name} {points(p.mean) if p.seeds else NO_VERDICT}" for p in line.points)
            for line in plot.series
        )
        return _finished(drawing, f"{study}-values", f"{label}, {title}. Means: {values}.", title, label)


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
            axes.plot([x for x, _ in dots], [y for _, y in dots], ".", markersize=3.4, color=style["color"], alpha=0.75)
            axes.plot(xs, [point.mean for point in part], **_LINE, **style)
        lost = [point.x + shift for point in series.points if not point.seeds and not plot.over_training]
        bottom = axes.get_xaxis_transform()
        axes.plot(lost, [0.03] * len(lost), "x", markersize=3.6, color=style["color"], transform=bottom)
    if plot.threshold is not None:
        axes.axhline(plot.threshold, color=QUIET, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)


def _scale(axes: Axes, plot: ValuePlot, top: float, bent: bool) -> None:
    """Set the axes that all panels share."""
    joined = 0.434  # decades that the linear part takes: it meets the logarithmic one without a corner
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


def _finished(drawing: Drawing, name: str, alt: str, title: str, label: str) -> Figure:
    drawing.supylabel(label, fontsize=8.0)
    drawing.suptitle(title, x=0.01, ha="left", fontsize=9.0)
    drawing.draw_without_rendering()  # places everything, once for both kinds
    drawing.set_layout_engine(None)
    return Figure(name, alt, render(drawing, 150))


def path_figure(result: PairResult, title: str) -> dict[str, bytes]:
    """Return {"path.svg": bytes}: a pair at its last epoch.

    Error in percent over alpha, test solid and train dashed, the chords between the ends dotted; an upright line from
    the mean of the ends to the maximum is the barrier of Eq. 1 (paper, Section 2). A pair with an endpoint that is
    not trained has curves and no barrier: the figure says so. Equal results and titles give equal bytes.
    """
    mark = result.final
    epochs = "epoch {}" if result.epochs == COMMON else "epochs {} and {}"
    when = epochs.format(*map(mark_text, ends_at(result.epochs, mark.epoch)))
    note = "" if mark.barriers is not None else f"no barrier: endpoints {' and '.join(mark.status)}"
    # One kind: hundreds are drawn, and a browser shows this one at any size.
    images = curves_figure(mark.curves, mark.barriers, f"{title}, {when}\n{note}", ("svg",))
    return {f"path.{kind}": content for kind, content in images.items()}


def curves_figure(
    curves: Mapping[SplitName, Curve],
    found: Mapping[SplitName, Barriers] | None,
    title: str,
    kinds: Sequence[str] = ("png", "svg"),
) -> dict[str, bytes]:
    """Return bytes by kind: the same of one split or both, with their barriers if there are any."""
    with drawing_style():
        drawing, axes, heading, artists = _pair_drawing()
        highest = 0.0
        for split, parts in artists.items():
            for part in parts:
                part.set_visible(split in curves)
            if split not in curves:
                continue
            path, chord, barrier, name, _ = parts
            curve, percent = curves[split], [100.0 * wrong / curves[split].n for wrong in curves[split].wrong]
            top = max(percent)
            highest = max(highest, top)
            path.set_data(curve.alphas, percent)
            chord.set_data((0.0, 1.0), (percent[0], percent[-1]))
            name.set_text(split if found is None else f"{split}, barrier {found[split].barrier:.2f}")
            barrier.set_visible(found is not None)
            at = curve.alphas[percent.index(top)] + (0.006 if split == "test" else -0.006)  # beside one another
            barrier.set_data((at, at), ((percent[0] + percent[-1]) / 2, top))
        axes.set_ylim(0.0, 1.08 * highest if highest > 0.0 else 1.0)
        heading.set_text(title)
        return render(drawing, 100, kinds)


@cache
def _pair_drawing() -> tuple[Drawing, Axes, Any, dict[SplitName, tuple[Any, ...]]]:
    """Return the figure and lines that all pairs of a process share: making axes costs more than moving lines."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(4.6, 3.2))
    drawing.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.79)
    axes = drawing.add_subplot()
    axes.set(xlim=(-0.02, 1.02), xlabel="alpha, from theta_0 to theta_1", ylabel="error, %")
    title = drawing.text(0.02, 0.975, "", fontsize=8.0, verticalalignment="top")
    artists: dict[SplitName, tuple[Any, ...]] = {}
    for split, left in zip(SPLITS, (0.55, 0.12), strict=True):
        style = LINES[split]
        (path,) = axes.plot([], [], marker="o", markersize=2.5, **style)
        (chord,) = axes.plot([], [], color=style["color"], linestyle=":", linewidth=0.8)
        (barrier,) = axes.plot([], [], color=style["color"], marker="_", markersize=5.0, linewidth=0.7)
        place = ((left, left + 0.07), (0.84, 0.84))
        (sample,) = axes.plot(*place, transform=drawing.transFigure, clip_on=False, **style)
        name = drawing.text(left + 0.085, 0.826, "", fontsize=7.5)
        artists[split] = path, chord, barrier, name, sample
    return drawing, axes, title, artists


def measure_and_draw(drawn: tuple[PairTask, str | None]) -> tuple[PairResult, dict[str, bytes]]:
    """Return a pair's result and the images of `path_figure` by name, which a worker draws while the parent logs.

    `drawn` is a task and the title of its figure; None: draw none.
    """
    from lmc_repro.barriers.measure import measure_pair  # imports torch: a parent sends tasks without it

    task, title = drawn
    result = measure_pair(task)
    return result, {} if title is None else path_figure(result, title)
