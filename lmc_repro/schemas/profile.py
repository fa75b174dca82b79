"""A profile: on what data, at what size and with which rates the studies run, and where each number comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.data import LoaderKind
from lmc_repro.schemas.optimizer import OptimizerConfig
from lmc_repro.schemas.study import SOURCES, Key, Provenance, Settings


class Judgement(Strict):
    """When a pair counts as connected and an endpoint as undertrained."""

    threshold: float = Field(gt=0.0, description="points of error (Frankle et al. 2020)")
    min_train_accuracy: float | None = Field(default=None, ge=0.0, le=1.0, description="null: halfway from chance to 1")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Keys = Annotated[tuple[Key, ...], Field(strict=False, min_length=1), BeforeValidator(_as_tuple)]
"""One key or a list of them."""


class Override(Strict):
    """What this profile changes about the cells of some studies, rows or columns; each may be a key or a list.

    `set` wins over the study's settings, `label` is the row's or the column's name here, `drop` leaves the cells out
    (`why` says in a word or two why they would tell nothing under this profile).
    """

    study: Keys
    row: Keys | None = None
    column: Keys | None = None
    set: Settings = Settings()
    label: str | None = None
    drop: bool = False
    why: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Override:
        if self.label is not None and (self.row is None) == (self.column is None):
            raise ValueError("label: names one row or one column: give either row or column")
        if self.drop != (self.why is not None):
            raise ValueError("drop and why go together: say why these cells are left out")
        return self

    def covers(self, study: str, row: str, column: str) -> bool:
        """Return whether it is about this cell."""
        rows, columns = self.row or (row,), self.column or (column,)
        return study in self.study and row in rows and column in columns


class ProfileConfig(Strict):
    """Everything that differs between a quick look on embedded data and the paper at full scale."""

    title: str
    analogue: bool = Field(description="true: shows the effects on other data, never counted as agreement")
    numerics: Literal["portable", "native"]
    datasets: tuple[str, ...] = Field(strict=False, min_length=1)
    replace_dataset: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    loader: LoaderKind = "resident"
    pairs: int = Field(default=3, ge=1)
    replicas: int = Field(default=2, ge=2)
    points: int = Field(default=11, ge=2, description="alphas on the path, both ends included")
    judgement: Judgement
    settings: Settings
    optimizers: dict[Key, OptimizerConfig]
    batches: dict[Key, Annotated[int, Field(ge=1)]]
    overrides: tuple[Override, ...] = Field(default=(), strict=False)
    provenance: dict[str, Provenance]

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> ProfileConfig:
        leaves = self.hyper_parameters()
        if missing := sorted(leaf for leaf in leaves if self.source(leaf) is None):
            raise ValueError(
                f"provenance: no entry for {', '.join(missing)}; say where it comes from ({', '.join(SOURCES)})"
            )
        if unused := sorted(key for key in self.provenance if not any(_covers(key, leaf) for leaf in leaves)):
            raise ValueError(f"provenance: {', '.join(unused)} names no hyper-parameter of this profile")
        return self

    def hyper_parameters(self) -> dict[str, object]:
        """Return every hyper-parameter of the profile by its dotted path."""
        leaves: dict[str, object] = {
            f"judgement.{name}": getattr(self.judgement, name) for name in Judgement.model_fields
        }
        leaves |= {f"settings.{name}": value for name, value in self.settings.given().items()}
        for key, optimizer in self.optimizers.items():
            leaves |= {f"optimizers.{key}.{name}": getattr(optimizer, name) for name in type(optimizer).model_fields}
        return leaves | {f"batches.{name}": size for name, size in self.batches.items()}

    def source(self, leaf: str) -> str | None:
        """Return `source: remark` of a hyper-parameter; the longest entry that covers it counts."""
        entries = [key for key in self.provenance if _covers(key, leaf)]
        return self.provenance[max(entries, key=len)] if entries else None


def _covers(entry: str, leaf: str) -> bool:
    return leaf == entry or leaf.startswith(entry + ".")
