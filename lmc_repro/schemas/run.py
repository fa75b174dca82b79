"""One training of one network: everything that decides its bits, but for data, torch and instruction set."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from lmc_repro.schemas.base import Marks, Strict
from lmc_repro.schemas.data import DataConfig
from lmc_repro.schemas.model import ModelConfig
from lmc_repro.schemas.optimizer import ClipConfig, OptimizerConfig
from lmc_repro.schemas.schedule import ScheduleConfig
from lmc_repro.schemas.seeds import Seeds

Precision = Literal["float32", "tf32", "bf16"]
"""Of the matrix products of training, on a GPU; weights, optimizer and all that is measured are float32 in each.

`tf32`: factors rounded to 10 bits of mantissa, sums in float32. `bf16`: factors and products rounded to 7 bits.
"""


class RunConfig(Strict):
    """The config of one run. Equal configs on equal data give equal weights (see training.fingerprint)."""

    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    clip: ClipConfig | None = None
    schedule: ScheduleConfig = ScheduleConfig()
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    evaluate_at: Marks
    precision: Precision = "float32"
    seeds: Seeds

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.evaluate_at[-1] != self.epochs:
            raise ValueError(
                f"evaluate_at must end with the last epoch, {self.epochs}, but ends with {self.evaluate_at[-1]}"
            )
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"a warm-up of {self.schedule.warmup_epochs} epochs is longer than the run of {self.epochs}"
            )
        if (self.data.augment is None) != (self.seeds.augmentation is None):
            raise ValueError("seeds.augmentation: give it where data.augment is given, and only there")
        if self.seeds.early and self.seeds.early.until > self.epochs:
            raise ValueError(
                f"seeds.early.until: {self.seeds.early.until} epochs are longer than the run of {self.epochs}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_plain_precision(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave float32 unsaid: the files of such runs have the bytes that they had before there was a choice."""
        values: dict[str, Any] = write(self)
        if self.precision == "float32":
            values.pop("precision", None)
        return values

    def without_seeds(self) -> dict[str, Any]:
        """Return what all runs of a cell share, as plain JSON values."""
        return self.model_dump(mode="json", exclude={"seeds"})

    def flat(self) -> dict[str, Any]:
        """Return `a.b: value` for every field, seeds included: the parameters a tracker shows."""
        flat: dict[str, Any] = {}

        def walk(prefix: str, value: Any) -> None:
            if isinstance(value, dict):
                for key, inner in value.items():
                    walk(f"{prefix}.{key}" if prefix else key, inner)
            else:
                flat[prefix] = value

        walk("", {**self.model_dump(mode="json"), "precision": self.precision})
        return flat
