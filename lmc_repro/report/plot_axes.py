"""The axes of a plot of values: a bent one upwards, a stretched one over training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LINEAR_UP_TO = 2.0  # points or percent: the threshold's size; above it the axis is logarithmic if it has to be
_LABELLED = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Scale:
    """The upward axis that all panels share, 0 to `top`; logarithmic above LINEAR_UP_TO if `bent`."""

    top: float
    bent: bool
    marks: tuple[float, ...]

    def up(self, value: float) -> float:
        """Return where a value lies, 0 at the bottom and 1 at the top."""
        return self._bend(max(value, 0.0)) / self._bend(self.top)

    def _bend(self, value: float) -> float:
        if not self.bent or value <= LINEAR_UP_TO:
            return value / LINEAR_UP_TO
        return 1.0 + math.log(value / LINEAR_UP_TO)  # joins the straight part without a corner


def axis(highest: float, threshold: float | None) -> Scale:
    """Return the axis that holds `highest`, and the threshold where there is one."""
    top = 1.08 * max(highest, threshold or 0.0, 0.05)
    if top > 5 * LINEAR_UP_TO:
        marks = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
        return Scale(top, True, tuple(mark for mark in marks if mark <= top))
    step = next((step for step in _STEPS if top <= 6 * step), _STEPS[-1])
    return Scale(top, False, tuple(round(i * step, 6) for i in range(int(top / step) + 1)))


def epoch_x(epoch: float) -> float:
    """Return where an epoch lies across: early training is wide, and epoch 0 has its place."""
    return math.log((epoch + 0.5) / 0.5)


def told_apart(marks: Sequence[float]) -> list[float]:
    """Return the marks without those that lie too near to the last one to be told from it."""
    return [mark for mark in marks if mark == marks[-1] or epoch_x(marks[-1]) - epoch_x(mark) > 0.25]


def epoch_ticks(marks: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Return round epochs among the marks, both ends included, far enough apart to be read."""
    if not marks:
        return ()
    found = [marks[0]]
    for mark in marks[1:]:
        if mark in _LABELLED and epoch_x(marks[-1]) - epoch_x(mark) > 0.3:
            found.append(mark)
    found += [marks[-1]] if len(marks) > 1 else []
    return tuple((epoch_x(mark), f"{mark:g}") for mark in found)
