"""SGD with momentum and ADAM, with the field's names for their numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.registry import OPTIMIZERS, chosen

LearningRate = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
WeightDecay = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Limit = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class OptimizerSettings(Strict):
    """What every kind of optimizer has."""

    kind: str
    lr: LearningRate


class SgdConfig(OptimizerSettings):
    """SGD with (heavy-ball) momentum as in torch.optim.SGD; `weight_decay` times the weight joins the gradient."""

    kind: Literal["sgd"]
    momentum: float = Field(ge=0.0, lt=1.0)
    weight_decay: WeightDecay = 0.0


class AdamConfig(OptimizerSettings):
    """ADAM with bias correction, as in torch.optim.Adam; `weight_decay` times the weight joins the gradient."""

    kind: Literal["adam"]
    beta1: float = Field(ge=0.0, lt=1.0)
    beta2: float = Field(ge=0.0, lt=1.0)
    eps: float = Field(gt=0.0, allow_inf_nan=False)
    weight_decay: WeightDecay = 0.0


OptimizerConfig = Annotated[SerializeAsAny[OptimizerSettings], BeforeValidator(chosen(OPTIMIZERS))]
"""The settings of any kind in the registry."""


class ClipConfig(Strict):
    """Clipping of each network's own gradient: to a Euclidean norm, or every entry to [-value, value]."""

    norm: Limit | None = None
    value: Limit | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ClipConfig:
        if (self.norm is None) == (self.value is None):
            raise ValueError("give either norm or value")
        return self
