"""A study: a table or figure of the paper, its cells on two axes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from lmc_repro.schemas.base import Marks, Strict
from lmc_repro.schemas.data import LoaderKind, OrderRule
from lmc_repro.schemas.model import GainKind, InitKind

# DVC reads a dot in a key as a path, and MLflow refuses @ and =.
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
PairKind = Literal["noise", "init"]


class Settings(Strict):
    """Part of a run's config: profile, study, row and column each give some, the later one wins.

    `optimizer` and `batch` are names that the profile gives a meaning to (`batch` may be a number), so that one
    study runs on other data with other rates.
    """

    dataset: str | None = None
    depth: int | None = None
    width: int | None = None
    slope: float | None = None
    bias: bool | None = None
    init: InitKind | None = None
    gain: GainKind | None = None
    optimizer: str | None = None
    batch: str | int | None = None
    warmup_epochs: int | None = None
    epochs: int | None = None
    evaluate_at: Marks | None = None
    order: OrderRule | None = None
    drop_last: bool | None = None
    loader: LoaderKind | None = None

    def over(self, lower: Settings) -> Settings:
        """Return `lower` with the fields that this one gives."""
        return Settings.model_validate(lower.given() | self.given())

    def given(self) -> dict[str, object]:
        """Return the fields that were written down."""
        return {name: getattr(self, name) for name in Settings.model_fields if getattr(self, name) is not None}


class AxisEntry(Settings):
    """One row or column: its label, what it sets, and its name in the paper's reported numbers."""

    label: str
    reported: str | None = None


class StudyConfig(Strict):
    """A grid of cells, rows x columns; each cell is a set of pairs of runs of one config."""

    title: str
    question: str
    pair: PairKind = "noise"
    reported: str | None = None
    base: Settings
    rows: dict[Key, AxisEntry] = Field(min_length=1)
    columns: dict[Key, AxisEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _axes_do_not_fight(self) -> StudyConfig:
        for row_key, row in self.rows.items():
            for column_key, column in self.columns.items():
                if both := sorted(set(row.given()) & set(column.given())):
                    raise ValueError(
                        f"row {row_key} and column {column_key} both set {', '.join(both)}: let one axis set it"
                    )
        return self
