"""The networks of the paper, as numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lmc_repro.schemas.base import Strict

InitKind = Literal["torch-default", "kaiming-normal"]
GainKind = Literal["slope", "sqrt2"]


class MlpConfig(Strict):
    """An N-layer fully connected network; N counts linear layers, so depth 1 is logistic regression.

    `slope` is that of the leaky ReLU between layers: 1 is a linear network, 0 is ReLU. `gain` belongs to
    kaiming-normal: of the slope, sqrt(2 / (1 + slope^2)), or the square root of 2 whatever the slope.
    """

    kind: Literal["mlp"]
    depth: int = Field(ge=1, le=64)
    width: int | None = Field(default=None, ge=1)
    slope: float = Field(default=1.0, ge=0.0, le=1.0)
    bias: bool = True
    init: InitKind = "torch-default"
    gain: GainKind | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> MlpConfig:
        if self.depth > 1 and self.width is None:
            raise ValueError(f"depth {self.depth} has hidden layers: give their width")
        if self.depth == 1 and (self.width is not None or self.slope != 1.0):
            raise ValueError("depth 1 has no hidden layer: leave out width and slope")
        if (self.gain is not None) != (self.init == "kaiming-normal"):
            raise ValueError("gain (slope or sqrt2) goes with init: kaiming-normal, and only with it")
        return self


ModelConfig = MlpConfig
