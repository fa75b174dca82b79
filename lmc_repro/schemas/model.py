"""The networks of the paper, as numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, model_validator

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.registry import MODELS, chosen, named

InitKind = Literal["torch-default", "kaiming-normal"]
GainKind = Literal["slope", "sqrt2"]
BiasKind = Literal["unit", "filter"]
Size = Annotated[int, Field(ge=1, le=2**20)]  # above the largest of the paper, 8192; below what no memory holds
ModelKind = Annotated[str, AfterValidator(named(MODELS))]


class ModelSettings(Strict):
    """What every kind of network has: its name, and how its linear maps are initialised.

    `gain` belongs to kaiming-normal: of the slope, sqrt(2 / (1 + slope^2)), or the square root of 2 whatever the slope.
    """

    init: InitKind = "torch-default"
    gain: GainKind | None = None
    kind: str

    @model_validator(mode="after")
    def _gain_fits(self) -> ModelSettings:
        if (self.gain is not None) != (self.init == "kaiming-normal"):
            raise ValueError("gain (slope or sqrt2) goes with init: kaiming-normal, and only with it")
        return self


class PatchShape(Strict):
    """Square patches side by side (stride = kernel), each seen by so many filters."""

    filters: Size
    kernel: Size


class MlpConfig(ModelSettings):
    """An N-layer fully connected network; N counts linear layers, so depth 1 is logistic regression.

    `slope` is that of the leaky ReLU between layers: 1 is a linear network, 0 is ReLU. `start_from_local`: the weights
    begin as those of a locally connected network of this shape, dense from then on; its hidden layer must have
    positions x filters units.
    """

    kind: Literal["mlp"]
    depth: int = Field(ge=1, le=64)
    width: Size | None = None
    slope: float = Field(default=1.0, ge=0.0, le=1.0)
    bias: bool = True
    start_from_local: PatchShape | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> MlpConfig:
        if self.depth > 1 and self.width is None:
            raise ValueError(f"depth {self.depth} has hidden layers: give their width")
        if self.depth == 1 and (self.width is not None or self.slope != 1.0):
            raise ValueError("depth 1 has no hidden layer: leave out width and slope")
        if self.start_from_local and (self.depth != 2 or not self.bias):
            raise ValueError("start_from_local: a locally connected network has depth 2 and biases")
        return self


class LocalConfig(ModelSettings):
    """A locally connected hidden layer (a filter bank of its own at every position), a leaky ReLU, a linear layer.

    `bias` of the hidden layer: one a `unit` (filter and position), or one a `filter`. `start_from_conv`: the filters
    of all positions begin as those of a CNN with the same trainer seed.
    """

    kind: Literal["local"]
    filters: Size
    kernel: Size
    slope: float = Field(default=0.0, ge=0.0, le=1.0)
    bias: BiasKind = "unit"
    start_from_conv: bool = False


class ConvConfig(ModelSettings):
    """A convolution with stride = kernel and no padding, a leaky ReLU, a linear layer."""

    kind: Literal["conv"]
    filters: Size
    kernel: Size
    slope: float = Field(default=0.0, ge=0.0, le=1.0)


class AttentionConfig(ModelSettings):
    """One self-attention block over patches, without skips and without an MLP part (paper, Section 3.3)."""

    kind: Literal["attention"]
    patch: Size
    heads: Size
    head_dim: Size


ModelConfig = Annotated[SerializeAsAny[ModelSettings], BeforeValidator(chosen(MODELS))]
"""The settings of any kind in the registry."""
