"""A study and a profile: a table or figure as cells on two axes, and the data, sizes and rates that it runs with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from lmc_repro.common import bounds
from lmc_repro.config.base import (
    BatchSize,
    Epochs,
    EvaluationEpoch,
    EvaluationEpochs,
    Key,
    Line,
    Pairs,
    Positive,
    Strict,
)
from lmc_repro.config.path import (
    AlignmentName,
    LayersConfig,
    MetricNames,
    OwnNames,
    PairKindName,
    PlaneConfig,
    RepairName,
)
from lmc_repro.config.run import ClipConfig, LoaderKind, ModelKind, OptimizerConfig, OptimizerKind, Precision

SOURCES = ("paper", "author-code", "cited", "inferred", "ours")
Provenance = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(SOURCES)}): \S.*$", max_length=bounds.LINE)]
"""`source: remark`: the paper, its first author's later code, a paper it cites, our inference, our choice."""


class ModelTerms(Strict):
    """Settings of a network beside the fields of its kind.

    `width: positions` is as wide as a locally connected layer of `filters` and `kernel` is on that data set. `start`
    names the network whose initial weights a network of another kind begins with.
    """

    kind: ModelKind = "mlp"
    width: Literal["positions"] | None = None
    start: Literal["conv", "local"] | None = None


class OptimizerTerms(Strict):
    """Settings of an optimizer beside the fields of its kind, which replace those of the one in `use`.

    `use` is a name that the profile gives a meaning to, so that one study runs on other data with other rates.
    `momentum` is ADAM's beta1, too. `lr_divisor: positions` divides the rate by the patches of `model.kernel`.
    """

    kind: OptimizerKind | None = None
    use: str | None = None
    lr_divisor: Positive | Literal["positions"] | None = None


def _used(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


def _kind_has_a_key(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"found {value!r}, allowed: keys and values, e.g. {{kind: {value}}}")
    return value


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"found {list(seeds)}: name each seed once")
    return seeds


TrainerSeeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**32)], ...],
    Field(strict=False, min_length=1, max_length=bounds.RUNS),
    AfterValidator(_distinct),
]


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError(f"found {value:g}, allowed: a whole number of epochs (an epoch has one order of images)")
    return value


WholeEpoch = Annotated[int, BeforeValidator(_whole)]
Group = Annotated[dict[str, Any], BeforeValidator(_kind_has_a_key)]
GROUPS = ("model", "optimizer", "schedule", "data")
"""Fields of Settings that layers merge key by key; `config.load` holds them to the kinds that have such keys."""


class Settings(Strict):
    """Part of a run's config: profile, study, row and column each give some, of each dotted path the later one wins.

    `model`, `optimizer`, `schedule` and `data` are those of RunConfig, with ModelTerms and OptimizerTerms; what a
    network of the cell's kind does not have is left out. `batch` is a name that the profile gives a meaning to, or a
    number. `share_noise_until` gives the runs of a pair one trajectory for so many epochs. `precision` is that of the
    matrix products of training. `pair` says which pairs a cell has, `pairs` how many or `trainer_seeds` of
    which seeds; `metrics`, `align`, `repair` and `layers` say how their paths are made, see PathConfig;
    `plane` asks for the plane through the first three runs of a cell.
    """

    model: Group = Field(default_factory=dict)
    optimizer: Annotated[dict[str, Any], BeforeValidator(_used)] = Field(default_factory=dict)
    clip: ClipConfig | None = None
    batch: str | BatchSize | None = None
    schedule: Group = Field(default_factory=dict)
    epochs: Epochs | None = None
    evaluate_at: EvaluationEpochs | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    precision: Precision | None = None
    loader: LoaderKind | None = None
    pair: PairKindName | None = None
    pairs: Pairs | None = None
    trainer_seeds: TrainerSeeds | None = None
    share_noise_until: WholeEpoch | None = None
    spawn_at: WholeEpoch | None = None
    snapshot_epochs: Annotated[tuple[EvaluationEpoch, EvaluationEpoch], Field(strict=False)] | None = None
    metrics: MetricNames | None = None
    align: AlignmentName | None = None
    repair: RepairName | None = None
    layers: LayersConfig | None = None
    plane: PlaneConfig | None = None

    @model_validator(mode="after")
    def _counts_or_names(self) -> Settings:
        if self.pairs is not None and self.trainer_seeds is not None:
            raise ValueError(_ONE_OF_THEM)
        return self

    def over(self, lower: Settings) -> Settings:
        """Return `lower` with what this one gives; a number of pairs and named trainer seeds replace each other."""
        below, given = lower.given(), self.given()
        if {"pairs", "trainer_seeds"} & given.keys():
            below = {path: value for path, value in below.items() if path not in ("pairs", "trainer_seeds")}
        return Settings.model_validate(nested(below | given))

    def given(self) -> dict[str, Any]:
        """Return what was written down, as plain JSON values by their dotted path: `model.width`, `epochs`."""
        found: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json", include=set(Settings.model_fields)).items():
            found |= {f"{name}.{key}": leaf for key, leaf in value.items()} if name in GROUPS else {name: value}
        return {path: value for path, value in found.items() if value is not None}


_ONE_OF_THEM = "pairs and trainer_seeds: give only one of them"


def nested(paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"model": {"width": 3}}` for `{"model.width": 3}`."""
    found: dict[str, Any] = {}
    for path, value in paths.items():
        name, dot, key = path.partition(".")
        if dot:
            found.setdefault(name, {})[key] = value
        else:
            found[name] = value
    return found


class AxisEntry(Settings):
    """One row or column: its label, what it sets, and its name in the paper's reported numbers.

    `varies` names the row (or column) that it changes one thing about: an ablation's base.
    """

    label: Line
    reported: str | None = None
    varies: Key | None = None


class Show(Strict):
    """A report's drawing of a study beside its table and paths: a value of each cell along one of its axes.

    `x`: the rows, the columns, or the epochs at which the runs were evaluated (the barrier over training).
    """

    x: Literal["rows", "columns", "epochs"]
    x_label: Line
    value: Literal["barrier", "normalised"] = "barrier"


class StudyConfig(Strict):
    """A grid of cells, rows x columns; each cell is a set of pairs of runs of one config.

    `title` is its key by default. A study that is held against the paper (`reported`) has a title and a question.
    """

    title: Line = ""
    question: Line = ""
    provenance: dict[str, Provenance] = Field(default_factory=dict)
    pair: PairKindName = "noise"
    reported: str | None = None
    show: Show | None = None
    base: Settings
    rows: dict[Key, AxisEntry] = Field(min_length=1)
    columns: dict[Key, AxisEntry] = Field(min_length=1)
    callbacks: OwnNames = ()

    @model_validator(mode="after")
    def _fits_together(self) -> StudyConfig:
        if (cells := len(self.rows) * len(self.columns)) > bounds.CELLS:
            raise ValueError(f"rows and columns: found {cells:,} cells, allowed: {bounds.CELLS:,}; leave some out")
        used = {name for part in (self.base, *self.rows.values(), *self.columns.values()) for name in part.given()}
        if unused := sorted(self.provenance.keys() - used):
            raise ValueError(f"provenance: {', '.join(unused)}: no setting of this study")
        for name in ("title", "question"):
            if self.reported is not None and not getattr(self, name):
                raise ValueError(f"{name}: missing; a study with `reported` has one")
        for axis, entries in (("rows", self.rows), ("columns", self.columns)):
            for key, entry in entries.items():
                if entry.varies is not None and (entry.varies not in entries or entry.varies == key):
                    others = [other for other in entries if other != key]
                    raise ValueError(f"{axis}.{key}.varies: found {entry.varies!r}, allowed: {', '.join(others)}")
        for row_key, row in self.rows.items():
            for column_key, column in self.columns.items():
                if both := sorted(set(row.given()) & set(column.given())):
                    raise ValueError(
                        f"row {row_key} and column {column_key} both set {', '.join(both)}: let one axis set it"
                    )
        return self


class Judgement(Strict):
    """When a pair counts as connected and an endpoint as undertrained."""

    threshold: float = Field(default=2.0, gt=0.0, le=100.0, description="points of error (Frankle et al. 2020)")
    min_train_accuracy: float | None = Field(default=None, ge=0.0, le=1.0, description="null: halfway from chance to 1")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Keys = Annotated[
    tuple[Key, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_as_tuple, json_schema_input_type=Key | tuple[Key, ...]),
]
"""One key or a list of them."""


class Override(Strict):
    """This profile's changes to the cells of some studies, rows or columns; each may be a key or a list.

    `set` wins over the study's settings, `label` is the row's or the column's name here, `drop` leaves the cells out
    (`why` says in a word or two why they would show nothing under this profile).
    """

    study: Keys
    row: Keys | None = None
    column: Keys | None = None
    set: Settings = Settings()
    label: Line | None = None
    drop: bool = False
    why: Line | None = None

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
    """Everything that differs between a quick look on embedded data and the paper at full scale.

    `title` is its key by default. `provenance` names a source of each hyper-parameter, and must where a study is held
    against the paper.
    """

    title: Line = ""
    analogue: bool = Field(
        default=False, description="true: shows the effects on other data, never counted as agreement"
    )
    numerics: Literal["portable", "native"]
    datasets: tuple[str, ...] = Field(strict=False, min_length=1)
    replace_dataset: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    loader: LoaderKind = "resident"
    pairs: Pairs = 3
    trainer_seeds: TrainerSeeds | None = None
    replicas: int = Field(default=2, ge=2, le=bounds.REPLICAS)
    points: int = Field(default=11, ge=3, le=bounds.POINTS, description="alphas on the path, both ends included")
    judgement: Judgement = Judgement()
    settings: Settings = Settings()
    optimizers: dict[Key, OptimizerConfig] = Field(default_factory=dict)
    batches: dict[Key, BatchSize] = Field(default_factory=dict)
    overrides: tuple[Override, ...] = Field(default=(), strict=False)
    provenance: dict[str, Provenance] = Field(default_factory=dict)
    callbacks: OwnNames = ()

    @model_validator(mode="after")
    def _fits_together(self) -> ProfileConfig:
        if self.trainer_seeds is not None and "pairs" in self.model_fields_set:
            raise ValueError(_ONE_OF_THEM)
        leaves = self.hyper_parameters()
        if unused := sorted(key for key in self.provenance if not any(_covers(key, leaf) for leaf in leaves)):
            raise ValueError(f"provenance: {', '.join(unused)} names no hyper-parameter of this profile")
        return self

    def hyper_parameters(self) -> dict[str, object]:
        """Return every hyper-parameter of the profile by its dotted path."""
        leaves: dict[str, object] = {f"judgement.{name}": value for name, value in self.judgement}
        leaves |= {f"settings.{name}": value for name, value in self.settings.given().items()}
        for key, optimizer in self.optimizers.items():
            leaves |= {f"optimizers.{key}.{name}": value for name, value in optimizer}
        return leaves | {f"batches.{name}": size for name, size in self.batches.items()}

    def without_source(self) -> list[str]:
        """Return the hyper-parameters that `provenance` does not cover."""
        return sorted(leaf for leaf in self.hyper_parameters() if self.source(leaf) is None)

    def source(self, leaf: str) -> str | None:
        """Return `source: remark` of a hyper-parameter; the longest entry that covers it counts."""
        entries = [key for key in self.provenance if _covers(key, leaf)]
        return self.provenance[max(entries, key=len)] if entries else None


def _covers(entry: str, leaf: str) -> bool:
    return leaf == entry or leaf.startswith(entry + ".")
