"""A study and a profile: a table or figure as cells on two axes, and the data, sizes and rates that it runs with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from lmc_repro.config.base import Marks, Strict
from lmc_repro.config.path import AlignmentName, MetricNames, OwnNames, RepairName
from lmc_repro.config.run import (
    AugmentConfig,
    BiasKind,
    ClipConfig,
    GainKind,
    InitKind,
    LoaderKind,
    ModelKind,
    OptimizerConfig,
    OrderRule,
    Precision,
    ScheduleKind,
    WarmupRule,
)

# DVC reads a dot in a key as a path, and MLflow refuses @ and =.
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
PairKind = Literal["noise", "init"]

SOURCES = ("paper", "author-code", "cited", "inferred", "ours")
Provenance = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(SOURCES)}): \S.*$")]
"""`source: remark`: the paper, its first author's later code, a paper it cites, our inference, our choice."""


class Settings(Strict):
    """Part of a run's config: profile, study, row and column each give some, the later one wins.

    `optimizer` and `batch` are names that the profile gives a meaning to (`batch` may be a number), so that one
    study runs on other data with other rates. `width: positions` is as wide as a locally connected layer of
    `filters` and `kernel` is on that data set; `lr_divisor: positions` divides the rate by its number of positions.
    `start` names the network whose initial weights a network of another kind begins with. `share_noise_until` gives
    the runs of a pair one trajectory for so many epochs. `momentum` (ADAM's beta1) and `weight_decay` replace the
    optimizer's. `precision` is that of the matrix products of training on a GPU. `options` are settings of a network of
    one's own that have no name here. `pair` and `pairs` say which pairs a cell has, and how many; `metrics`, `align`
    and `repair` say how their paths are made, see PathConfig.
    """

    dataset: str | None = None
    label_noise: float | None = None
    augment: AugmentConfig | None = None
    model: ModelKind | None = None
    depth: int | None = None
    width: int | Literal["positions"] | None = None
    slope: float | None = None
    bias: bool | None = None
    filters: int | None = None
    kernel: int | None = None
    lc_bias: BiasKind | None = None
    patch: int | None = None
    heads: int | None = None
    head_dim: int | None = None
    start: Literal["conv", "local"] | None = None
    options: dict[str, int | float | bool | str] | None = None
    init: InitKind | None = None
    gain: GainKind | None = None
    optimizer: str | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    lr_divisor: Annotated[float, Field(gt=0.0)] | Literal["positions"] | None = None
    clip: ClipConfig | None = None
    batch: str | int | None = None
    schedule: ScheduleKind | None = None
    warmup_epochs: int | None = None
    warmup_rule: WarmupRule | None = None
    epochs: int | None = None
    evaluate_at: Marks | None = None
    order: OrderRule | None = None
    drop_last: bool | None = None
    precision: Precision | None = None
    loader: LoaderKind | None = None
    pair: PairKind | None = None
    pairs: Annotated[int, Field(ge=1)] | None = None
    share_noise_until: int | None = None
    metrics: MetricNames | None = None
    align: AlignmentName | None = None
    repair: RepairName | None = None

    def over(self, lower: Settings) -> Settings:
        """Return `lower` with the fields that this one gives."""
        return Settings.model_validate(lower.given() | self.given())

    def given(self) -> dict[str, object]:
        """Return the fields that were written down."""
        return {name: getattr(self, name) for name in Settings.model_fields if getattr(self, name) is not None}


class AxisEntry(Settings):
    """One row or column: its label, what it sets, and its name in the paper's reported numbers.

    `varies` names the row (or column) that it changes one thing about: an ablation's base.
    """

    label: str
    reported: str | None = None
    varies: Key | None = None


class Show(Strict):
    """What a report draws of a study beside its table and its paths: a value of each cell along one of its axes.

    `x`: the rows, the columns, or the epochs at which the runs were evaluated (the barrier over training).
    """

    x: Literal["rows", "columns", "epochs"]
    x_label: str
    value: Literal["barrier", "normalised"] = "barrier"


class StudyConfig(Strict):
    """A grid of cells, rows x columns; each cell is a set of pairs of runs of one config."""

    title: str
    question: str
    provenance: dict[str, Provenance] = Field(default_factory=dict)
    pair: PairKind = "noise"
    reported: str | None = None
    show: Show | None = None
    base: Settings
    rows: dict[Key, AxisEntry] = Field(min_length=1)
    columns: dict[Key, AxisEntry] = Field(min_length=1)
    callbacks: OwnNames = ()

    @model_validator(mode="after")
    def _sources_have_settings(self) -> StudyConfig:
        if unused := sorted(self.provenance.keys() - self.settings_used()):
            raise ValueError(f"provenance: {', '.join(unused)}: no setting of this study")
        return self

    @model_validator(mode="after")
    def _bases_exist(self) -> StudyConfig:
        for axis, entries in (("rows", self.rows), ("columns", self.columns)):
            for key, entry in entries.items():
                if entry.varies is not None and (entry.varies not in entries or entry.varies == key):
                    others = [other for other in entries if other != key]
                    raise ValueError(f"{axis}.{key}.varies: found {entry.varies!r}, allowed: {', '.join(others)}")
        return self

    @model_validator(mode="after")
    def _axes_do_not_fight(self) -> StudyConfig:
        for row_key, row in self.rows.items():
            for column_key, column in self.columns.items():
                if both := sorted(set(row.given()) & set(column.given())):
                    raise ValueError(
                        f"row {row_key} and column {column_key} both set {', '.join(both)}: let one axis set it"
                    )
        return self

    def settings_used(self) -> set[str]:
        """Return the names of the settings that its base, rows and columns give."""
        return {name for part in (self.base, *self.rows.values(), *self.columns.values()) for name in part.given()}


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
    callbacks: OwnNames = ()

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
            leaves |= {f"optimizers.{key}.{name}": value for name, value in optimizer}
        return leaves | {f"batches.{name}": size for name, size in self.batches.items()}

    def source(self, leaf: str) -> str | None:
        """Return `source: remark` of a hyper-parameter; the longest entry that covers it counts."""
        entries = [key for key in self.provenance if _covers(key, leaf)]
        return self.provenance[max(entries, key=len)] if entries else None


def _covers(entry: str, leaf: str) -> bool:
    return leaf == entry or leaf.startswith(entry + ".")
