"""Every image becomes brighter or darker by up to `by` standard deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lmc_repro.config.run import StepSettings

if TYPE_CHECKING:
    from torch import Tensor


class BrightnessConfig(StepSettings):
    kind: Literal["brightness"]
    by: float


def brightness(config: BrightnessConfig, inputs: Tensor, draws: Tensor) -> Tensor:
    shift = config.by * (2.0 * draws[:, 0] - 1.0)
    return inputs + shift.view(-1, 1, 1, 1)
