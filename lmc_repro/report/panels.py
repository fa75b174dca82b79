"""The paths of a cell as a small SVG drawing: colours come from the page, so that it follows light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lmc_repro.barriers.curve import SPLITS, Curve
from lmc_repro.results.schema import CellRecord, StudyResults

WIDTH, HEIGHT = 190.0, 118.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 8.0, 6.0, 20.0
_STEPS = (1, 2, 5, 10, 20, 25, 50)  # percent between two lines of the grid


@dataclass(frozen=True)
class Line:
    """A curve in the drawing: `kind` is the split, or the split and `untrained` for a pair without a verdict."""

    kind: str
    points: str


@dataclass(frozen=True)
class Scale:
    """The axis of errors that the panels of a study share: its top and its marks, in percent."""

    top: float
    marks: tuple[int, ...]

    def y(self, percent: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1.0 - percent / self.top)


def shared_scale(curves: Iterable[Curve]) -> Scale:
    """Return the axis that holds the errors of all curves, from 0."""
    highest = 100.0 * max((error for curve in curves for error in curve.errors), default=0.0)
    step = next((step for step in _STEPS if highest <= 4 * step), 25)
    top = max(step * math.ceil(highest / step - 1e-9), step)
    return Scale(float(top), tuple(range(0, top + 1, step)))


def x(alpha: float) -> float:
    """Return where alpha lies across a panel."""
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * alpha


def lines(cell: CellRecord, results: StudyResults, scale: Scale) -> list[Line]:
    """Return the paths of a cell's pairs at the last epoch, train below test."""
    found = []
    for split in SPLITS:
        for pair in cell.pairs:
            curve = results.curves[cell.key, pair.pair, pair.epoch, split]
            steps = zip(curve.alphas, curve.errors, strict=True)
            points = " ".join(f"{x(alpha):.1f},{scale.y(100.0 * error):.1f}" for alpha, error in steps)
            found.append(Line(split if pair.barriers[split] is not None else f"{split} untrained", points))
    return found
