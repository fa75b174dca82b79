"""The figure of a whole report: every cell of every study as a mark on one axis of barriers."""

from __future__ import annotations

from collections.abc import Sequence

from lmc_repro.report.contents import StudyPart
from lmc_repro.report.figures import QUIET, drawing_style, render
from lmc_repro.report.model import Figure
from lmc_repro.report.value_figure import LINEAR_UP_TO

VERDICTS = {"connected": ("#12436d", "o"), "unequal ends": ("#8a5a00", "D"), "disconnected": ("#a40e26", "^")}
"""Colour and marker of each verdict."""

_TICKS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


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
        top = next((tick for tick in _TICKS[3:] if tick >= highest), 100.0)
        ticks = [tick for tick in _TICKS if tick <= top]
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
