"""The figure of a plane: contours of the error, distances between weights true to scale, the three runs marked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from lmc_repro.barriers.results import Plane
from lmc_repro.report.figures import COLUMN, KINDS, drawing_style, finished, legend, make_panels
from lmc_repro.report.grid import ORDER
from lmc_repro.report.model import Figure
from lmc_repro.results.schema import StudyResults
from lmc_repro.tracking.names import seeds_name

LEVELS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0)
"""Contours in percent of error: as narrow between good networks as they are wide between bad ones."""
TICKS = 8
"""Of the colour bar, at most: more would touch one another in a column."""
COLOURS = "cividis_r"
"""Its lightness falls from the first colour to the last, so that it reads in grey, and by the colour-blind."""
TALLEST = 2.0
"""Of a panel, its height by its width: taller ones become narrower."""
RUN: dict[str, Any] = {"marker": "o", "linestyle": "", "color": "#ffffff", "markeredgecolor": "#000000"}


def planes_of(results: StudyResults, width: float = 6.0, kinds: Sequence[str] = KINDS) -> Iterator[Figure]:
    """Yield the figure of every plane of a study."""
    runs = {run.fingerprint: run for run in results.runs}
    for cell in results.cells:
        if plane := results.planes.get(cell.key):
            named = [seeds_name(runs[fingerprint]) for fingerprint in plane.fingerprints]
            title = f"{cell.row_label}, {cell.column_label}"
            yield plane_figure(plane, named, title, f"{results.study}-plane-{cell.key}", width, kinds)


def plane_figure(
    plane: Plane, runs: Sequence[str], title: str, name: str, width: float = COLUMN, kinds: Sequence[str] = KINDS
) -> Figure:
    """Return the contours of the error on a plane, test beside train, on one scale of colours.

    Args:
        plane: The plane.
        runs: A name for each of its runs.
        title: Stands above a figure wider than a column of a paper, which has its caption below.
        name: The figure's name.
        width: In inches.
        kinds: Of png, svg and pdf, those to draw.
    """
    from matplotlib.colors import BoundaryNorm
    from matplotlib.lines import Line2D

    errors = {split: [[100.0 * error for error in row.errors] for row in plane.rows[split]] for split in ORDER}
    ends = {split: (min(map(min, rows)), max(map(max, rows))) for split, rows in errors.items()}
    levels = levels_within(min(low for low, _ in ends.values()), max(high for _, high in ends.values()))
    tall = (plane.ys[-1] - plane.ys[0]) / (plane.xs[-1] - plane.xs[0])
    column, panel = width <= COLUMN, 36 * (width - 0.7)  # a panel's width in points
    scale = panel / (plane.xs[-1] - plane.xs[0]) * min(1.0, TALLEST / tall)
    close = scale * min(math.dist(a, b) for a, b in combinations(plane.corners, 2)) < 12.0
    offsets = ((-7.0, 0.0), (7.0, 0.0), (0.0, 7.0)) if close else ((0.0, 0.0),) * 3  # numbers would cover one another
    with drawing_style(small=8.0 if column else 7.0):
        height = min(TALLEST, tall) * panel / 72 + (1.75 if column else 1.45)
        drawing, grid = make_panels(1, len(ORDER), width, height, shared=True)
        for split, axes in zip(ORDER, grid.flat, strict=True):
            drawn = axes.contourf(
                plane.xs, plane.ys, errors[split], levels, cmap=COLOURS, norm=BoundaryNorm(levels, 256)
            )
            axes.contour(plane.xs, plane.ys, errors[split], levels, colors="#000000", linewidths=0.3)
            for number, (place, offset) in enumerate(zip(plane.corners, offsets, strict=True), 1):
                axes.plot(*place, markersize=3.0, markeredgewidth=0.6, clip_on=False, zorder=3, **RUN)
                axes.annotate(
                    str(number), place, offset, textcoords="offset points", ha="center", va="center_baseline",
                    fontsize=7.0, bbox={"boxstyle": "circle,pad=0.2", "facecolor": "#ffffff", "linewidth": 0.6},
                )  # fmt: skip
            axes.set_title(split)
            axes.set_aspect("equal")
            axes.locator_params("x", nbins=max(1, round((3 if column else 5) * min(1.0, TALLEST / tall))))
            if tall > 0.15:
                axes.locator_params("y", nbins=max(1, round(5 * min(1.0, tall))))
            else:  # two numbers would touch
                axes.set_yticks([0.0], ["0"])
        bar = drawing.colorbar(drawn, ax=list(grid.flat), location="bottom", aspect=40, spacing="uniform")
        ticks = levels[:: -(-len(levels) // TICKS)]
        bar.set_ticks(ticks, labels=[f"{level:g}" for level in ticks])
        bar.ax.minorticks_off()
        bar.set_label("error, %; axes: distance between weights", fontsize=8.0)
        handles = [
            Line2D([], [], markersize=5.0, markeredgewidth=0.6, label=f"{i}: {run}", **RUN)
            for i, run in enumerate(runs, 1)
        ]
        legend(drawing, handles, "")
        said = "; ".join(f"{split}: {low:.2f} to {high:.2f} %" for split, (low, high) in ends.items())
        alt = f"Error on the plane through three runs, {title}. {said}."
        return finished(drawing, name, alt, "" if column else title, kinds=kinds)


def levels_within(low: float, high: float) -> list[float]:
    """Return the LEVELS from the last one that is not above `low` to the first one that is above `high`."""
    first = max(i for i, level in enumerate(LEVELS[:-1]) if level <= low)
    last = next((i for i, level in enumerate(LEVELS) if level > high), len(LEVELS) - 1)
    return list(LEVELS[min(first, last - 1) : last + 1])
