"""SGD with momentum and ADAM, with the field's names for their numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lmc_repro.schemas.base import Strict

LearningRate = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class SgdConfig(Strict):
    """SGD with (heavy-ball) momentum as in torch.optim.SGD, without dampening or weight decay."""

    kind: Literal["sgd"]
    lr: LearningRate
    momentum: float = Field(ge=0.0, lt=1.0)


class AdamConfig(Strict):
    """ADAM with bias correction, as in torch.optim.Adam without weight decay."""

    kind: Literal["adam"]
    lr: LearningRate
    beta1: float = Field(ge=0.0, lt=1.0)
    beta2: float = Field(ge=0.0, lt=1.0)
    eps: float = Field(gt=0.0, allow_inf_nan=False)


OptimizerConfig = Annotated[SgdConfig | AdamConfig, Field(discriminator="kind")]
