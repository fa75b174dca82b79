"""params.yaml -> cells -> runs: which configs and which seeds a study comes to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

from lmc_repro.data.catalog import CATALOG
from lmc_repro.errors import LmcError
from lmc_repro.schemas.load import validate
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.plan import Cell, Pair, StudyPlan
from lmc_repro.schemas.profile import ProfileConfig
from lmc_repro.schemas.run import RunConfig
from lmc_repro.schemas.seeds import Seeds
from lmc_repro.schemas.study import PairKind, Settings, StudyConfig
from lmc_repro.studies.reported import reported_barrier

V = TypeVar("V")


@dataclass(frozen=True)
class Choice:
    """What the command line narrows or changes; None leaves the file's value."""

    profile: str | None = None
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    pairs: int | None = None
    replicas: int | None = None
    epochs: int | None = None
    dataset: str | None = None
    device: str | None = None


def plan_study(params: Params, study: str, choice: Choice | None = None) -> StudyPlan:
    """Return the cells of `study` under the chosen profile; LmcError for a name or a combination that cannot be."""
    choice = choice or Choice()
    profile_key = choice.profile or params.profile
    profile = _pick(params.profiles, profile_key, "profiles", "--profile")
    config = _pick(params.studies, study, "studies", "STUDY")
    rows = _narrow(config.rows, choice.rows, "--row", study)
    columns = _narrow(config.columns, choice.columns, "--column", study)
    cells = tuple(_cell(study, config, profile_key, profile, row, column, choice) for row in rows for column in columns)
    return StudyPlan(study, profile_key, config, profile, cells)


def validate_all(params: Params) -> None:
    """Resolve every study under the active profile, so that a mistake shows before any work is done."""
    for study in params.studies:
        plan_study(params, study)


def _cell(
    study: str, config: StudyConfig, profile_key: str, profile: ProfileConfig, row: str, column: str, choice: Choice
) -> Cell:
    where = f"params.yaml: studies.{study}, row {row}, column {column}, profile {profile_key}"
    settings = _settings(study, config, profile, row, column, choice)
    template = _resolve(settings, profile, where)
    if (dataset := template["data"]["dataset"]) not in CATALOG:
        raise LmcError(f"{where}: dataset: found {dataset!r}, allowed: {', '.join(CATALOG)}")
    info = CATALOG[dataset]
    if info.name not in profile.datasets:
        raise LmcError(
            f"{where}: data set {info.name!r} is not in profiles.{profile_key}.datasets {list(profile.datasets)}"
        )
    if config.pair == "noise" and template["batch_size"] >= info.n_train:
        raise LmcError(
            f"{where}: batch size {template['batch_size']} holds all {info.n_train} training images of {info.name}: "
            "no SGD noise: same batches; choose a smaller batch"
        )
    count, replicas = choice.pairs or profile.pairs, choice.replicas or profile.replicas
    return Cell(
        key=f"{row}--{column}",
        row=row,
        column=column,
        row_label=config.rows[row].label,
        column_label=config.columns[column].label,
        config=template,
        pair_kind=config.pair,
        pairs=_pairs(template, config.pair, count, replicas, where),
        loader=settings.loader or profile.loader,
        paper=reported_table(config)[row, column],
    )


def reported_table(config: StudyConfig) -> dict[tuple[str, str], dict[str, float] | None]:
    """Return the barriers that the paper prints, by (row, column) key: points; None where it prints nothing."""
    return {
        (row, column): reported_barrier(config.reported, config.rows[row].reported, config.columns[column].reported)
        for row in config.rows
        for column in config.columns
    }


def _settings(
    study: str, config: StudyConfig, profile: ProfileConfig, row: str, column: str, choice: Choice
) -> Settings:
    settings = config.base.over(profile.settings)
    settings = config.columns[column].over(config.rows[row].over(settings))
    for override in profile.overrides:
        if override.study == study and override.row in (None, row) and override.column in (None, column):
            settings = override.set.over(settings)
    if dataset := choice.dataset or profile.replace_dataset:
        settings = Settings(dataset=dataset).over(settings)
    if choice.epochs is not None:
        marks = [mark for mark in settings.evaluate_at or () if mark < choice.epochs]
        settings = Settings(epochs=choice.epochs, evaluate_at=(*marks, choice.epochs)).over(settings)
    return settings


def _resolve(settings: Settings, profile: ProfileConfig, where: str) -> dict[str, Any]:
    """Return RunConfig's fields without seeds, with the profile's meaning for the names of optimizer and batch."""
    for name in ("dataset", "depth", "optimizer", "batch", "epochs", "evaluate_at"):
        if getattr(settings, name) is None:
            raise LmcError(
                f"{where}: {name} is missing; set it in the study's base, a row, a column or the profile's settings"
            )
    optimizer = profile.optimizers.get(str(settings.optimizer))
    if optimizer is None:
        raise LmcError(f"{where}: optimizer: found {settings.optimizer!r}, allowed: {', '.join(profile.optimizers)}")
    batch = profile.batches.get(settings.batch) if isinstance(settings.batch, str) else settings.batch
    if batch is None:
        raise LmcError(f"{where}: batch: found {settings.batch!r}, allowed: a number or {', '.join(profile.batches)}")
    hidden = {"width": settings.width, "slope": settings.slope if settings.slope is not None else 1.0}
    model = {
        "kind": "mlp",
        "depth": settings.depth,
        **(hidden if settings.depth != 1 else {}),  # logistic regression has neither: equal configs stay equal
        "bias": True if settings.bias is None else settings.bias,
        "init": settings.init or "torch-default",
        "gain": settings.gain,
    }
    values = {
        "data": {
            "dataset": settings.dataset,
            "order": settings.order or "philox",
            "drop_last": bool(settings.drop_last),
        },
        "model": model,
        "optimizer": optimizer.model_dump(),
        "schedule": {"kind": "constant", "warmup_epochs": settings.warmup_epochs or 0},
        "batch_size": batch,
        "epochs": settings.epochs,
        "evaluate_at": settings.evaluate_at,
        "seeds": {"trainer": 0, "loader": 0},
    }
    return validate(RunConfig, values, where).without_seeds()


def _pairs(template: dict[str, Any], kind: PairKind, count: int, replicas: int, where: str) -> tuple[Pair, ...]:
    """Return the pairs of each trainer seed: noise pairs share it, init pairs do not."""
    if kind == "init" and replicas != 2:
        raise LmcError(
            f"{where}: replicas: found {replicas}, allowed: 2 (the runs of an init pair share no trainer seed)"
        )
    pairs = []
    for j in range(count):
        runs = [
            _run(template, trainer=j if kind == "noise" else replicas * j + i, loader=replicas * j + i)
            for i in range(replicas)
        ]
        for a, b in combinations(range(replicas), 2):
            name = f"{j}" if replicas == 2 else f"{j}-{a}-{b}"
            pairs.append(Pair(name=name, trainer_seed=runs[a].seeds.trainer, runs=(runs[a], runs[b])))
    return tuple(pairs)


def _run(template: dict[str, Any], trainer: int, loader: int) -> RunConfig:
    return RunConfig.model_validate({**template, "seeds": Seeds(trainer=trainer, loader=loader)})


def _pick(table: dict[str, V], key: str, place: str, option: str) -> V:
    if key not in table:
        raise LmcError(f"{option}: found {key!r}, allowed: {', '.join(table)} (params.yaml: {place})")
    return table[key]


def _narrow(axis: dict[str, V], keys: tuple[str, ...], option: str, study: str) -> list[str]:
    for key in keys:
        _pick(axis, key, f"studies.{study}", option)
    return [key for key in axis if not keys or key in keys]
