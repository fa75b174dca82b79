"""The learning rate of each child at each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmc_repro.schemas.run import RunConfig


def learning_rates(configs: Sequence[RunConfig], step: int, steps_per_epoch: int) -> npt.NDArray[np.float64]:
    """Return the rates [C] of step `step`, counted from 0 over the whole run: lr * min(1, step / warm-up steps)."""
    rates = []
    for config in configs:
        warmup_steps = config.schedule.warmup_epochs * steps_per_epoch
        factor = min(1.0, step / warmup_steps) if warmup_steps else 1.0
        rates.append(config.optimizer.lr * factor)
    return np.array(rates)
