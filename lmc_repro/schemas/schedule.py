"""How the learning rate moves over a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.registry import SCHEDULES, named

ScheduleKind = Annotated[str, AfterValidator(named(SCHEDULES))]
WarmupRule = Literal["from-zero", "from-first-step"]


class ScheduleConfig(Strict):
    """A linear warm-up, then the schedule of its kind: a constant rate, or one that falls to 0 along half a cosine.

    Step k (from 0) of a warm-up of W steps uses lr * k / W (`from-zero`) or lr * (k + 1) / W (`from-first-step`).
    After it, cosine uses lr * (1 + cos(pi * (k - W) / (T - W))) / 2 for T steps in all.
    """

    kind: ScheduleKind = "constant"
    warmup_epochs: int = Field(default=0, ge=0)
    warmup_rule: WarmupRule = "from-zero"
