"""At which steps of an epoch a run is evaluated, besides the end of whole epochs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from lmc_repro.errors import LmcError
from lmc_repro.schemas.base import mark_text


def marks_within(marks: Sequence[float], steps_per_epoch: int) -> dict[int, dict[int, float]]:
    """Return {epoch (from 0): {steps done in it: mark}} for the marks that are no whole number of epochs.

    A mark m is made after m x steps_per_epoch steps of the run, rounded half up, but at least one step after the epoch
    began and one before it ends. LmcError where an epoch is a single step, or two marks fall on one step.
    """
    found: dict[int, dict[int, float]] = {}
    for mark in marks:
        if mark == int(mark):
            continue
        epoch = int(mark)
        if steps_per_epoch < 2:
            raise LmcError(
                f"evaluate_at: mark {mark_text(mark)}: an epoch is one step here, there is nothing within it; give "
                "whole epochs"
            )
        # Decimal: 0.145 x 100 is 14.5, though not in floating point
        exact = (Decimal(repr(mark)) - epoch) * steps_per_epoch
        step = min(max(int(exact.quantize(Decimal(1), ROUND_HALF_UP)), 1), steps_per_epoch - 1)
        there = found.setdefault(epoch, {})
        if step in there:
            raise LmcError(
                f"evaluate_at: marks {mark_text(there[step])} and {mark_text(mark)} both fall on step {step} of "
                f"{steps_per_epoch} in epoch {epoch + 1}; leave one out"
            )
        there[step] = mark
    return found
