"""The curves of a study: its grid as small pictures of the error along the path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.drawing import LINES, QUIET, drawing_style, render
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.words import NO_VERDICT, NOT_RUN, means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lmc_repro.report.records import StudyResults

_DPI = 150
_UNTRAINED = {"color": "#b0b0b0", "linewidth": 0.8}  # a pair without a verdict: there, but not to be read as flat
_WIDTH, _HEIGHT = 1.75, 1.25  # inches of a panel, with its share of the gaps
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.9, 0.1, 0.45, 0.8  # inches around the panels


def curves_figure(table: StudyTable) -> dict[str, bytes]:
    """Return {"png": bytes, "svg": bytes}: error in percent over alpha at the last epoch, one panel a cell.

    One line a pair, test solid and train dashed. All panels share both axes, so that a flat line is a connected pair.
    Pairs without a verdict
    are grey. Above each panel stand its mean barriers, test / train. Equal results give equal bytes.
    """
    from matplotlib.figure import Figure

    columns, rows = len(table.columns), len(table.rows)
    width, height = _LEFT + columns * _WIDTH + _RIGHT, _BOTTOM + rows * _HEIGHT + _TOP
    with drawing_style():
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=_LEFT / width, right=1 - _RIGHT / width, bottom=_BOTTOM / height, top=1 - _TOP / height,
            wspace=0.12, hspace=0.28,
        )  # fmt: skip
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for place, entry in enumerate(table.entries):
            i, j = divmod(place, columns)
            axes = grid[i][j]
            _panel(axes, entry, table.results)
            if i == 0:
                axes.set_title(entry.column.label, pad=16.0)
            if j == 0:
                axes.set_ylabel(entry.row.label.replace(", ", "\n"))
        grid[0][0].set_xlim(-0.03, 1.03)
        grid[0][0].set_xticks((0.0, 0.5, 1.0), ("0", "0.5", "1"))
        grid[0][0].set_ylim(bottom=0.0)
        across, up = (_LEFT + columns * _WIDTH / 2) / width, (_BOTTOM + rows * _HEIGHT / 2) / height
        figure.text(across, 0.12 / height, "alpha", ha="center", va="bottom")
        figure.text(0.08 / width, up, "error, %", rotation=90, ha="left", va="center")
        figure.text(_LEFT / width, 1 - 0.12 / height, table.results.title, va="top", fontsize=9.0)
        samples = [grid[0][0].plot([], [], label=split, **LINES[split])[0] for split in reversed(SPLITS)]
        corner = (1 - _RIGHT / width, 1 - 0.02 / height)
        figure.legend(handles=samples, loc="upper right", ncols=2, bbox_to_anchor=corner)
        return render(figure, _DPI)


def _panel(axes: Axes, entry: Entry, results: StudyResults) -> None:
    if entry.cell is None:
        axes.text(0.5, 0.5, NOT_RUN, transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return
    for pair in entry.cell.pairs:
        for split in SPLITS:
            curve = results.curves[entry.cell.key, pair.pair, pair.epoch, split]
            line = LINES[split] if pair.barriers[split] is not None else LINES[split] | _UNTRAINED
            axes.plot(curve.alphas, [100.0 * error for error in curve.errors], **line)
    note = means(entry.cell) if entry.n else NO_VERDICT
    axes.text(0.5, 1.03, note, transform=axes.transAxes, ha="center", va="bottom", fontsize=7.0, color=QUIET)
