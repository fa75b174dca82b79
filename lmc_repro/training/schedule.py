"""The learning rate of each run at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmc_repro.config.registry import SCHEDULES, named_object
from lmc_repro.config.run import RunConfig, ScheduleConfig


def learning_rates(configs: Sequence[RunConfig], step: int, steps_per_epoch: int) -> npt.NDArray[np.float64]:
    """Return the rates [C] of step `step`, counted from 0 over the whole run; runs may differ in all of it."""
    return np.array([c.optimizer.lr * factor(c.schedule, step, steps_per_epoch, c.epochs) for c in configs])


def factor(schedule: ScheduleConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the share of the rate that step `step` of a run of `epochs` uses, 0 to 1 (see ScheduleConfig)."""
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + (schedule.warmup_rule == "from-first-step")) / warmup
    return float(named_object(SCHEDULES, schedule.kind)(step - warmup, epochs * steps_per_epoch - warmup))


def constant(done: int, steps: int) -> float:
    """Return 1 at every step."""
    return 1.0


def cosine(done: int, steps: int) -> float:
    """Return the height of half a cosine after `done` of `steps` steps."""
    return (1.0 + math.cos(math.pi * done / steps)) / 2
