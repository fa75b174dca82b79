"""How the learning rate moves over a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmc_repro.schemas.base import Strict


class ScheduleConfig(Strict):
    """A constant rate after a linear warm-up: step k (from 0) uses lr * min(1, k / warm-up steps)."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: int = Field(default=0, ge=0)
