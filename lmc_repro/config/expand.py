"""params.yaml -> cells -> runs: the configs and seeds of a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial, reduce
from math import ceil, floor
from typing import TypeVar

from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError, choices, every
from lmc_repro.config.base import epochs_within
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import check_groups, group_classes
from lmc_repro.config.own_code import is_own, own_object, pinned
from lmc_repro.config.pairs import PairSource, make_pairs
from lmc_repro.config.params import Params
from lmc_repro.config.path import PathConfig, PlaneConfig
from lmc_repro.config.plan import Cell, Pair, StudyPlan
from lmc_repro.config.reported import reported_barrier
from lmc_repro.config.resolve import run_template
from lmc_repro.config.study import GROUPS, ProfileConfig, Settings, StudyConfig

V = TypeVar("V")
Layer = tuple[str, Settings]
"""Settings, and where in the profile they are written, with {} for a setting's path; empty if elsewhere."""
NOTHING = Settings()


class NoCells(LmcError):
    """A profile leaves out every cell of a study, or all that were chosen."""


@dataclass(frozen=True)
class Choice:
    """The command line's choices and changes; None leaves the file's value.

    `settings` override all of the file's settings of a cell; `move_to` follows from dataset.
    """

    profile: str | None = None
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    pairs: int | None = None
    replicas: int | None = None
    epochs: int | None = None
    dataset: str | None = None
    width: int | None = None
    device: str | None = None
    settings: Settings = NOTHING
    move_to: str | None = None


def pick_profile(params: Params, chosen: str | None) -> str:
    """Return the key of the chosen profile, or of the active one; LmcError if there is no such profile."""
    _pick(params.profiles, key := chosen or params.profile, "profiles", "--profile")
    return key


def plan_study(params: Params, study: str, choice: Choice | None = None) -> StudyPlan:
    """Return the cells of `study` under the chosen profile; LmcError for a name or a combination that cannot be.

    A data set that the command line chooses narrows a study to the cells on it; a study that has none is moved to it.
    """
    choice = choice or Choice()
    if choice.pairs is not None and choice.settings.trainer_seeds is not None:
        raise LmcError("--pairs and --trainer-seeds: give one of them")
    check_groups(choice.settings, group_classes(params, choice.settings), "--set")
    profile_key = choice.profile or params.profile
    profile = _pick(params.profiles, profile_key, "profiles", "--profile")
    if study in params.exhibits:
        raise LmcError(f"STUDY: {study} is an exhibit, which needs no training; `lmc exhibit {study}` makes it")
    config = _pick(params.studies, study, "studies", "STUDY")
    places = _places(study, config, profile, choice)
    if choice.dataset is not None:
        dataset_info(choice.dataset, "--dataset")
        own = {place: _merged(_layers(study, config, profile, *place, choice)).data.get("dataset") for place in places}
        on_it = [place for place in places if own[place] == choice.dataset]
        if on_it:
            places = on_it
        else:
            choice = replace(choice, move_to=choice.dataset)
    _require_fits(study, config, profile, places, choice)
    cells = tuple(_cell(study, config, profile_key, profile, row, column, choice) for row, column in places)
    plan = StudyPlan(study, profile_key, config, profile, cells)
    for name in plan.callbacks:
        if not callable(own_object(name)):
            raise LmcError(f"params.yaml: callbacks: {name} is no function")
    return plan


def validate_all(params: Params) -> list[StudyPlan]:
    """Resolve every study under the active profile, so that all mistakes show before anything runs."""
    return every(partial(plan_study, params, study) for study in params.studies)


def _places(study: str, config: StudyConfig, profile: ProfileConfig, choice: Choice) -> list[tuple[str, str]]:
    """Return the (row, column) keys of this profile's cells."""
    rows = _narrow(config.rows, choice.rows, "--row", study)
    columns = _narrow(config.columns, choice.columns, "--column", study)
    places = [(row, column) for row in rows for column in columns]
    drops = [override for override in profile.overrides if override.drop]
    dropped = {place: override for place in places for override in drops if override.covers(study, *place)}
    if len(dropped) == len(places):
        why = "; ".join(sorted({str(override.why) for override in dropped.values()}))
        raise NoCells(f"studies.{study}: this profile has none of these cells ({why}); choose others or a --profile")
    return [place for place in places if place not in dropped]


def _require_fits(
    study: str, config: StudyConfig, profile: ProfileConfig, places: Sequence[tuple[str, str]], choice: Choice
) -> None:
    """LmcError where a study comes to more runs, pairs or checkpoints than fit a machine; counted, not made."""
    replicas = choice.replicas or profile.replicas
    runs = pairs = checkpoints = 0
    for place in places:
        settings = _merged(_layers(study, config, profile, *place, choice))
        trainers = len(_trainer_seeds(settings if settings.pairs or settings.trainer_seeds else profile))
        runs += trainers * replicas
        pairs += trainers * replicas * (replicas - 1) // 2
        checkpoints += trainers * replicas * len(settings.evaluate_at or ())
    for name, found, most in (
        ("runs", runs, bounds.RUNS),
        ("pairs", pairs, bounds.RUNS),
        ("checkpoints", checkpoints, bounds.CHECKPOINTS),
    ):
        if found > most:
            raise LmcError(
                f"params.yaml: studies.{study}: found {found:,} {name} of {len(places)} cells of {replicas} replicas, "
                f"allowed: {most:,}; give fewer pairs, replicas or evaluation epochs, or choose rows and columns"
            )


def _cell(
    study: str, config: StudyConfig, profile_key: str, profile: ProfileConfig, row: str, column: str, choice: Choice
) -> Cell:
    layers = _layers(study, config, profile, row, column, choice)
    settings = _merged(layers)
    try:
        if (dataset := settings.data.get("dataset")) is None:
            raise LmcError("data.dataset: missing; set it in the study's base")
        info = dataset_info(dataset, "data.dataset")
        if info.name not in profile.datasets:
            found = choices(info.name, profile.datasets, f"profiles.{profile_key}.datasets")
            raise LmcError(f"data.dataset: {found}")
        template = run_template(settings, profile, info)
        batches = Fraction(info.n_train, template["batch_size"])
        epochs_within(template["evaluate_at"], floor(batches) if template["data"]["drop_last"] else ceil(batches))
        seeds = _trainer_seeds(settings if settings.pairs or settings.trainer_seeds else profile)
        source = PairSource(template, tuple(seeds), choice.replicas or profile.replicas, settings, info.n_train)
        kind = settings.pair or config.pair
        kind = pinned(kind) if is_own(kind) else kind
        pairs = make_pairs(kind, source)
        path = _path(settings)
        plane = _plane(settings, path, pairs)
    except LmcError as error:
        cell = f"studies.{study}, row {row}, column {column}, profile {profile_key}"
        lines = (_in_profile(line, layers, profile_key) or f"{cell}: {line}" for line in error.lines)
        raise LmcError(*(f"params.yaml: {line}" for line in lines)) from None
    used = {*_places_in_profile(layers).values(), f"batches.{settings.batch}"}
    optimizer = f"optimizers.{settings.optimizer.get('use')}."
    return Cell(
        key=f"{row}--{column}",
        row=row,
        column=column,
        row_label=_label(profile, study, config.rows[row].label, row=row),
        column_label=_label(profile, study, config.columns[column].label, column=column),
        config=template,
        pair_kind=kind,
        pairs=pairs,
        loader=settings.loader or profile.loader,
        paper=reported_table(config)[row, column],
        uses=tuple(leaf for leaf in profile.hyper_parameters() if leaf in used or leaf.startswith(optimizer)),
        path=path,
        plane=plane,
    )


def _in_profile(line: str, layers: Iterable[Layer], profile: str) -> str | None:
    """Return a cell's mistake with its place in the profile; None unless all settings that it names first are there."""
    head, _, found = line.partition(": ")
    group = f"{head}." if head in GROUPS else ""
    if group:
        head, _, found = found.partition(": ")
    known = _places_in_profile(layers)
    places = [known[name] for part in head.split(" and ") if (name := group + part) in known]
    return f"profiles.{profile}.{' and '.join(places)}: {found}" if places and all(places) else None


def _places_in_profile(layers: Iterable[Layer]) -> dict[str, str]:
    """Return where in the profile a cell's settings are written; empty for one that has its value from elsewhere."""
    return {name: place.format(name) for place, layer in layers for name in layer.given()}


def _path(settings: Settings) -> PathConfig:
    """Return the path settings of a cell, with every name resolved."""
    given = {name: value for name in PathConfig.model_fields if (value := getattr(settings, name)) is not None}
    return PathConfig(**given).pinned()


def _plane(settings: Settings, path: PathConfig, pairs: Sequence[Pair]) -> PlaneConfig | None:
    """Return the grid of a cell's plane; LmcError where its paths or runs allow none."""
    if settings.plane is None:
        return None
    if moved := ", ".join(sorted(path.given().keys() - {"metrics"})):
        raise LmcError(f"plane: goes through the runs' own weights, which {moved} would move; give one of them")
    if (found := len({run for pair in pairs for run in pair.runs})) < 3:
        raise LmcError(f"plane: found {found} runs, allowed: 3 or more; give more pairs, or no plane")
    return settings.plane


def _label(profile: ProfileConfig, study: str, label: str, **place: str) -> str:
    for override in profile.overrides:
        here = study in override.study and all(key in (getattr(override, axis) or ()) for axis, key in place.items())
        if override.label is not None and here:
            label = override.label
    return label


def reported_table(config: StudyConfig) -> dict[tuple[str, str], dict[str, float] | None]:
    """Return the barriers that the paper prints, by (row, column) key: points; None where it prints nothing."""
    return {
        (row, column): reported_barrier(config.reported, config.rows[row].reported, config.columns[column].reported)
        for row in config.rows
        for column in config.columns
    }


def _layers(
    study: str, config: StudyConfig, profile: ProfileConfig, row: str, column: str, choice: Choice
) -> list[Layer]:
    """Return the settings that a cell is given; of each, the last layer that has it wins."""
    layers = [
        ("settings.{}", profile.settings),
        ("", config.base),
        ("", config.rows[row]),
        ("", config.columns[column]),
    ]
    for i, override in enumerate(profile.overrides):
        if override.covers(study, row, column):
            layers.append((f"overrides.{i}.set.{{}}", override.set))
    if dataset := choice.move_to or profile.replace_dataset:
        layers.append(("" if choice.move_to else "replace_dataset", Settings(data={"dataset": dataset})))
    layers.append(("", choice.settings))
    if choice.width is not None:
        layers.append(("", Settings(model={"width": choice.width})))
    if choice.pairs is not None:
        layers.append(("", Settings(pairs=choice.pairs)))
    if choice.epochs is not None:
        evaluations = [epoch for epoch in _merged(layers).evaluate_at or () if epoch < choice.epochs]
        layers.append(("", Settings(epochs=choice.epochs, evaluate_at=(*evaluations, choice.epochs))))
    return layers


def _merged(layers: Iterable[Layer]) -> Settings:
    return reduce(lambda lower, layer: layer.over(lower), (layer for _, layer in layers), NOTHING)


def _trainer_seeds(given: Settings | ProfileConfig) -> Sequence[int]:
    """Return the trainer seeds of a cell's pairs, named or counted from 0."""
    return given.trainer_seeds or range(given.pairs or 0)


def _pick(table: dict[str, V], key: str, place: str, option: str) -> V:
    if key not in table:
        raise LmcError(f"{option}: {choices(key, table, f'params.yaml: {place}')}")
    return table[key]


def _narrow(axis: dict[str, V], keys: tuple[str, ...], option: str, study: str) -> list[str]:
    for key in keys:
        _pick(axis, key, f"studies.{study}", option)
    return [key for key in axis if not keys or key in keys]
