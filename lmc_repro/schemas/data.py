"""Which images a run sees, how they are changed, and in what order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.registry import AUGMENTATIONS, chosen

OrderRule = Literal["philox", "ffcv"]
LoaderKind = Literal["resident", "ffcv"]


class StepSettings(Strict):
    """What every kind of augmentation step in the registry has."""

    kind: str


AugmentStep = Annotated[SerializeAsAny[StepSettings], BeforeValidator(chosen(AUGMENTATIONS))]


class AugmentConfig(Strict):
    """What the augmentation seed draws for each sample and epoch, in this order.

    `flip`: left to right, with probability 1/2. `crop`: pad with zeros (of the raw image) by so many pixels on every
    side, cut the image's size out at a random place. `cutout`: a square of this side, at a random centre, becomes the
    data set's mean (DeVries and Taylor 2017, arXiv 1708.04552). `steps`: kinds of the registry, after these.
    """

    flip: bool = False
    crop: int = Field(default=0, ge=0, le=32)
    cutout: int = Field(default=0, ge=0, le=64)
    steps: tuple[AugmentStep, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _does_something(self) -> AugmentConfig:
        if not (self.flip or self.crop or self.cutout or self.steps):
            raise ValueError("changes nothing: give flip, crop or cutout, or leave augment out")
        kinds = [step.kind for step in self.steps]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"steps: found {', '.join(kinds)}: give each kind once")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_steps(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        if not self.steps:
            values.pop("steps", None)  # what was written before there were steps keeps its bytes and its identity
        return values


class DataConfig(Strict):
    """The data set, what is changed about it, and the rule that turns (loader seed, epoch) into an order.

    `order: ffcv` is FFCV's own rule (seed + epoch), which makes neighbouring seeds share their orders one epoch apart.
    `label_noise` is the share of training labels that are replaced by another class, once, the same for all runs.
    """

    dataset: str
    order: OrderRule = "philox"
    drop_last: bool = False
    augment: AugmentConfig | None = None
    label_noise: float = Field(default=0.0, ge=0.0, lt=1.0)
