"""The curves of a study: its grid as small pictures of the error along the path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.drawing import LINES, QUIET, drawing_style, inch_axes, render
from lmc_repro.report.panels import Scale, shared_scale
from lmc_repro.report.table import StudyTable
from lmc_repro.report.words import LEFT_OUT, NO_VERDICT, NOT_RUN, means
from lmc_repro.results.schema import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS, COLUMNS = 24, 8
"""More panels, or more beside one another, cannot be read on a page."""

_DPI = 150
_UNTRAINED = {"color": "#b0b0b0", "linewidth": 0.8}  # a pair without a verdict: there, but not to be read as flat
_WIDTH, _HEIGHT = 1.75, 1.25  # inches of a panel, with its gaps
_WIDE, _HIGH = 1.58, 0.98  # inches of a panel alone
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.9, 0.1, 0.45, 0.8  # inches around the panels

T = TypeVar("T")
Segments = dict[str, list[list[tuple[float, float]]]]


def panel_axes(table: StudyTable) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Return the rows and columns that are drawn: all, or evenly many of each with the outer ones among them."""
    ran_in_row = {entry.row.key for entry in table.entries if entry.cell}
    ran_in_column = {entry.column.key for entry in table.entries if entry.cell}
    # Rows that were not run at all take no room that others need.
    rows = [row for row in table.rows if row.key in ran_in_row] or list(table.rows)
    columns = [column for column in table.columns if column.key in ran_in_column] or list(table.columns)
    if len(table.rows) * len(table.columns) <= PANELS and len(table.columns) <= COLUMNS:
        return table.rows, table.columns
    chosen = _evenly(columns, COLUMNS)
    return tuple(_evenly(rows, max(PANELS // len(chosen), 1))), tuple(chosen)


def _evenly(items: Sequence[T], most: int) -> list[T]:
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(most - 1, 1))] for i in range(most)]


def curves_figure(table: StudyTable) -> dict[str, bytes]:
    """Return {"png": bytes, "svg": bytes}: error in percent over alpha at the last epoch, one panel a cell.

    One line a pair, test solid and train dashed. All panels share both axes, so that a flat line is a connected pair.
    Pairs without a verdict are grey. Above each panel stand its mean barriers, test / train. Equal results give equal
    bytes. Of a large study some rows and columns are drawn (panel_axes).
    """
    rows, columns = panel_axes(table)
    width = _LEFT + len(columns) * _WIDTH + _RIGHT
    height = _BOTTOM + len(rows) * _HEIGHT + _TOP
    entries = {(entry.row.key, entry.column.key): entry for entry in table.entries}
    shown = [entries[row.key, column.key] for row in rows for column in columns]
    cells = [entry.cell for entry in shown if entry.cell is not None]
    scale = shared_scale(
        table.results.curves[cell.key, pair.pair, pair.epoch, split]
        for cell in cells
        for pair in cell.pairs
        for split in SPLITS
    )
    with drawing_style():
        figure, axes = inch_axes(width, height)
        frames: list[list[tuple[float, float]]] = []
        lines: Segments = {}
        for place, entry in enumerate(shown):
            i, j = divmod(place, len(columns))
            left, bottom = _LEFT + j * _WIDTH, _BOTTOM + (len(rows) - 1 - i) * _HEIGHT + 0.08
            frames += _frame(axes, left, bottom, scale, j == 0, i == len(rows) - 1)
            middle = left + _WIDE / 2
            if i == 0:
                axes.text(middle, bottom + _HIGH + 0.26, entry.column.label, ha="center", va="bottom")
            if j == 0:
                label = entry.row.label.replace(", ", "\n")
                axes.text(left - 0.38, bottom + _HIGH / 2, label, rotation=90, ha="center", va="center",
                          multialignment="center")  # fmt: skip
            if entry.cell is None:
                word = LEFT_OUT if entry.left_out else NOT_RUN
                axes.text(middle, bottom + _HIGH / 2, word, ha="center", va="center", color=QUIET)
                continue
            for pair in entry.cell.pairs:
                for split in SPLITS:
                    curve = table.results.curves[entry.cell.key, pair.pair, pair.epoch, split]
                    kind = split if pair.barriers[split] is not None else f"{split} untrained"
                    steps = zip(curve.alphas, curve.errors, strict=True)
                    line = [(left + _WIDE * a, bottom + _HIGH * 100.0 * e / scale.top) for a, e in steps]
                    lines.setdefault(kind, []).append(line)
            note = means(entry.cell) if entry.n else NO_VERDICT
            axes.text(middle, bottom + _HIGH + 0.04, note, ha="center", va="bottom", fontsize=7.0, color=QUIET)
        _draw(axes, frames, lines)
        axes.text(_LEFT + len(columns) * _WIDTH / 2, 0.1, "alpha", ha="center", va="bottom")
        axes.text(0.08, _BOTTOM + len(rows) * _HEIGHT / 2, "error, %", rotation=90, ha="left", va="center")
        axes.text(_LEFT, height - 0.1, table.results.title, va="top", fontsize=9.0)
        samples = [axes.plot([], [], label=split, **LINES[split])[0] for split in reversed(SPLITS)]
        figure.legend(handles=samples, loc="upper right", ncols=2, bbox_to_anchor=(1 - _RIGHT / width, 1.0))
        return render(figure, _DPI)


def _frame(
    axes: Axes, left: float, bottom: float, scale: Scale, first: bool, last: bool
) -> Iterable[list[tuple[float, float]]]:
    """Return a panel's two axes and their ticks, after writing the numbers of the outer ones."""
    yield [(left, bottom + _HIGH), (left, bottom), (left + _WIDE, bottom)]
    for mark in scale.marks:
        y = bottom + _HIGH * mark / scale.top
        yield [(left - 0.03, y), (left, y)]
        if first:
            axes.text(left - 0.06, y, str(mark), ha="right", va="center", fontsize=7.0, color=QUIET)
    for alpha in (0.0, 0.5, 1.0):
        x = left + _WIDE * alpha
        yield [(x, bottom - 0.03), (x, bottom)]
        if last:
            axes.text(x, bottom - 0.06, f"{alpha:g}", ha="center", va="top", fontsize=7.0, color=QUIET)


def _draw(axes: Axes, frames: list[list[tuple[float, float]]], lines: Segments) -> None:
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(frames, colors=QUIET, linewidths=0.6), autolim=False)
    for kind, segments in sorted(lines.items(), reverse=True):  # train above test, as both may lie on one another
        split, _, untrained = kind.partition(" ")
        style = LINES[split] | (_UNTRAINED if untrained else {})
        drawn = LineCollection(
            segments, colors=style["color"], linestyles=[style["linestyle"]], linewidths=style["linewidth"],
            capstyle="butt", joinstyle="round",
        )  # fmt: skip
        axes.add_collection(drawn, autolim=False)
