"""The steps of a run: the learning rate at each, and after which of them a run is evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import numpy.typing as npt

from lmc_repro.errors import LmcError
from lmc_repro.schemas.base import mark_text
from lmc_repro.schemas.registry import SCHEDULES, find
from lmc_repro.schemas.run import RunConfig, ScheduleConfig


def learning_rates(configs: Sequence[RunConfig], step: int, steps_per_epoch: int) -> npt.NDArray[np.float64]:
    """Return the rates [C] of step `step`, counted from 0 over the whole run; children may differ in all of it."""
    return np.array([c.optimizer.lr * factor(c.schedule, step, steps_per_epoch, c.epochs) for c in configs])


def factor(schedule: ScheduleConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the share of the rate that step `step` of a run of `epochs` uses, 0 to 1 (see ScheduleConfig)."""
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + (schedule.warmup_rule == "from-first-step")) / warmup
    return float(find(SCHEDULES[schedule.kind])(step - warmup, epochs * steps_per_epoch - warmup))


def constant(done: int, steps: int) -> float:
    """Return 1, whatever was done."""
    return 1.0


def cosine(done: int, steps: int) -> float:
    """Return the height of half a cosine after `done` of `steps` steps."""
    return (1.0 + math.cos(math.pi * done / steps)) / 2


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
