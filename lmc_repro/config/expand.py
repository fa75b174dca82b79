"""params.yaml -> cells -> runs: the configs and seeds of a study; settings hold names, a run's config numbers only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from itertools import pairwise
from math import ceil, floor
from typing import Any, TypeVar

from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError, choices, every
from lmc_repro.config.base import epochs_within
from lmc_repro.config.catalog import DatasetInfo, dataset_info, patch_count
from lmc_repro.config.load import check_groups, group_classes, validate
from lmc_repro.config.own_code import is_own, own_object, pinned
from lmc_repro.config.pairs import PairSource, make_pairs
from lmc_repro.config.params import Params
from lmc_repro.config.path import PathConfig, PlaneConfig
from lmc_repro.config.plan import Cell, Pair, StudyPlan
from lmc_repro.config.registry import MODELS, settings_class
from lmc_repro.config.reported import reported_barrier
from lmc_repro.config.run import PatchShape, RunConfig
from lmc_repro.config.study import GROUPS, ProfileConfig, Settings, StudyConfig

V = TypeVar("V")
Place = tuple[str, str]
"""The keys of a row and a column."""
Layer = tuple[str, Settings]
"""Settings, and where in the profile they are written, with {} for a setting's path; empty if elsewhere."""
NOTHING = Settings()
_SIDES = {"local": "kernel", "conv": "kernel", "attention": "patch"}
"""By kind of network: the setting for the side of patches that must fill an image."""


class NoCells(LmcError):
    """A profile leaves out every cell of a study, or all that were chosen."""


@dataclass(frozen=True)
class Choice:
    """The command line's choices and changes; None leaves the file's value.

    `settings` override all of the file's settings of a cell.
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
        raise LmcError("--pairs and --trainer-seeds: give only one of them")
    check_groups(choice.settings, group_classes(params, choice.settings), "--set: ")
    key = pick_profile(params, choice.profile)
    if study in params.exhibits:
        raise LmcError(f"STUDY: {study} is an exhibit, which needs no training; `lmc exhibit {study}` makes it")
    config = _pick(params.studies, study, "studies", "STUDY")
    profile = params.profiles[key]
    cells = _Expansion(study, config, key, profile, choice, choice.replicas or profile.replicas).cells()
    plan = StudyPlan(study, key, config, profile, cells)
    for name in plan.callbacks:
        if not callable(own_object(name)):
            raise LmcError(f"params.yaml: callbacks: {name} is no function")
    return plan


def validate_all(params: Params) -> list[StudyPlan]:
    """Resolve every study under the active profile, so that all mistakes show before anything runs."""
    return every(partial(plan_study, params, study) for study in params.studies)


@dataclass(frozen=True)
class _Expansion:
    """A study under a profile, with the command line's choices."""

    study: str
    config: StudyConfig
    profile_key: str
    profile: ProfileConfig
    choice: Choice
    replicas: int

    def cells(self) -> tuple[Cell, ...]:
        layers = {place: self._layers(*place) for place in self._places()}
        if (dataset := self.choice.dataset) is not None:
            dataset_info(dataset, "--dataset")
            on_it = {place: each for place, each in layers.items() if _merged(each).data.get("dataset") == dataset}
            layers = on_it or {place: self._layers(*place, moved_to=dataset) for place in layers}
        settings = {place: _merged(each) for place, each in layers.items()}
        self._require_fits(settings.values())
        return tuple(self._cell(*place, layers[place], settings[place]) for place in layers)

    def _places(self) -> list[Place]:
        """Return the places of this profile's cells."""
        rows = _narrow(self.config.rows, self.choice.rows, "--row", self.study)
        columns = _narrow(self.config.columns, self.choice.columns, "--column", self.study)
        places = [(row, column) for row in rows for column in columns]
        drops = [override for override in self.profile.overrides if override.drop]
        dropped = {place: drop for place in places for drop in drops if drop.covers(self.study, *place)}
        if len(dropped) == len(places):
            why = "; ".join(sorted({str(drop.why) for drop in dropped.values()}))
            raise NoCells(
                f"studies.{self.study}: this profile has none of these cells ({why}); choose others or a --profile"
            )
        return [place for place in places if place not in dropped]

    def _layers(self, row: str, column: str, moved_to: str | None = None) -> list[Layer]:
        """Return the settings that a cell is given; of each, the last layer that has it wins."""
        profile, choice = self.profile, self.choice
        file = (self.config.base, self.config.rows[row], self.config.columns[column])
        layers = [("settings.{}", profile.settings), *(("", part) for part in file)]
        layers += [
            (f"overrides.{i}.set.{{}}", override.set)
            for i, override in enumerate(profile.overrides)
            if override.covers(self.study, row, column)
        ]
        if dataset := moved_to or profile.replace_dataset:
            layers.append(("" if moved_to else "replace_dataset", Settings(data={"dataset": dataset})))
        layers.append(("", choice.settings))
        if choice.width is not None:
            layers.append(("", Settings(model={"width": choice.width})))
        if choice.pairs is not None:
            layers.append(("", Settings(pairs=choice.pairs)))
        if choice.epochs is not None:
            evaluations = [epoch for epoch in _merged(layers).evaluate_at or () if epoch < choice.epochs]
            layers.append(("", Settings(epochs=choice.epochs, evaluate_at=(*evaluations, choice.epochs))))
        return layers

    def _trainer_seeds(self, settings: Settings) -> Sequence[int]:
        """Return the trainer seeds of a cell's pairs, named or counted from 0."""
        given: Settings | ProfileConfig = settings if settings.pairs or settings.trainer_seeds else self.profile
        return given.trainer_seeds or range(given.pairs or 0)

    def _require_fits(self, cells: Iterable[Settings]) -> None:
        """LmcError where a study comes to more runs, pairs or checkpoints than fit a machine; counted, not made."""
        trainers = [(len(self._trainer_seeds(cell)), len(cell.evaluate_at or ())) for cell in cells]
        runs = self.replicas * sum(count for count, _ in trainers)
        checkpoints = self.replicas * sum(count * evaluations for count, evaluations in trainers)
        for name, found, most in (
            ("runs", runs, bounds.RUNS),
            ("pairs", runs * (self.replicas - 1) // 2, bounds.RUNS),
            ("checkpoints", checkpoints, bounds.CHECKPOINTS),
        ):
            if found > most:
                raise LmcError(
                    f"params.yaml: studies.{self.study}: found {found:,} {name} of {len(trainers)} cells of "
                    f"{self.replicas} replicas, allowed: {most:,}; give fewer pairs, replicas or evaluation epochs, or "
                    "choose rows and columns"
                )

    def _cell(self, row: str, column: str, layers: Sequence[Layer], settings: Settings) -> Cell:
        profile, known = self.profile, _places_in_profile(layers)
        try:
            if (dataset := settings.data.get("dataset")) is None:
                raise LmcError("data.dataset: missing; set it in the study's base")
            info = dataset_info(dataset, "data.dataset")
            if info.name not in profile.datasets:
                found = choices(info.name, profile.datasets, f"profiles.{self.profile_key}.datasets")
                raise LmcError(f"data.dataset: {found}")
            template = run_template(settings, profile, info)
            batches = Fraction(info.n_train, template["batch_size"])
            epochs_within(template["evaluate_at"], floor(batches) if template["data"]["drop_last"] else ceil(batches))
            seeds = tuple(self._trainer_seeds(settings))
            kind = settings.pair or self.config.pair
            kind = pinned(kind) if is_own(kind) else kind
            pairs = make_pairs(kind, PairSource(template, seeds, self.replicas, settings, info.n_train))
            path = _path(settings)
            plane = _plane(settings, path, pairs)
        except LmcError as error:
            cell = f"studies.{self.study}, row {row}, column {column}, profile {self.profile_key}"
            lines = (_in_profile(line, known, self.profile_key) or f"{cell}: {line}" for line in error.lines)
            raise LmcError(*(f"params.yaml: {line}" for line in lines)) from None
        used = {*known.values(), f"batches.{settings.batch}"}
        optimizer = f"optimizers.{settings.optimizer.get('use')}."
        return Cell(
            key=f"{row}--{column}",
            row=row,
            column=column,
            row_label=self._label(self.config.rows[row].label, row=row),
            column_label=self._label(self.config.columns[column].label, column=column),
            config=template,
            pair_kind=kind,
            pairs=pairs,
            loader=settings.loader or profile.loader,
            paper=reported_table(self.config)[row, column],
            uses=tuple(leaf for leaf in profile.hyper_parameters() if leaf in used or leaf.startswith(optimizer)),
            path=path,
            plane=plane,
        )

    def _label(self, label: str, **place: str) -> str:
        for override in self.profile.overrides:
            here = all(key in (getattr(override, axis) or ()) for axis, key in place.items())
            if override.label is not None and self.study in override.study and here:
                label = override.label
        return label


def _in_profile(line: str, known: dict[str, str], profile: str) -> str | None:
    """Return a cell's mistake with its place in the profile; None unless all settings that it names first are there."""
    head, _, found = line.partition(": ")
    group = f"{head}." if head in GROUPS else ""
    if group:
        head, _, found = found.partition(": ")
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


def reported_table(config: StudyConfig) -> dict[tuple[str, str], dict[str, float] | None]:
    """Return the barriers that the paper prints, by (row, column) key: points; None where it prints nothing."""
    return {
        (row, column): reported_barrier(config.reported, config.rows[row].reported, config.columns[column].reported)
        for row in config.rows
        for column in config.columns
    }


def _merged(layers: Iterable[Layer]) -> Settings:
    return reduce(lambda lower, layer: layer.over(lower), (layer for _, layer in layers), NOTHING)


def _pick(table: dict[str, V], key: str, place: str, option: str) -> V:
    if key not in table:
        raise LmcError(f"{option}: {choices(key, table, f'params.yaml: {place}')}")
    return table[key]


def _narrow(axis: dict[str, V], keys: tuple[str, ...], option: str, study: str) -> list[str]:
    for key in keys:
        _pick(axis, key, f"studies.{study}", option)
    return [key for key in axis if not keys or key in keys]


def run_template(settings: Settings, profile: ProfileConfig, info: DatasetInfo) -> dict[str, Any]:
    """Return RunConfig's fields without seeds, as plain JSON values; LmcError that begins with a setting."""
    given = settings.given()
    for name in ("batch", "epochs", "evaluate_at", *(() if "optimizer.kind" in given else ("optimizer.use",))):
        if name not in given:
            raise LmcError(f"{name}: missing; set it in the study's base, a row, a column or the profile's settings")
    batch = profile.batches.get(settings.batch) if isinstance(settings.batch, str) else settings.batch
    if batch is None:
        allowed = " or ".join(filter(None, ("a number", ", ".join(profile.batches))))
        raise LmcError(f"batch: found {settings.batch!r}, allowed: {allowed}")
    values = {
        "data": settings.data | {"dataset": info.name},
        "model": _model(settings, info),
        "optimizer": _optimizer(settings, profile),
        "clip": settings.clip,
        "schedule": settings.schedule,
        "batch_size": batch,
        "epochs": settings.epochs,
        "evaluate_at": settings.evaluate_at,
        "precision": settings.precision or "float32",
        "seeds": {"trainer": 0, "loader": 0, "augmentation": None if settings.data.get("augment") is None else 0},
    }
    template = validate(RunConfig, values).without_seeds()
    model: dict[str, Any] = template["model"]
    if (side := _SIDES.get(model["kind"])) is not None:
        patch_count(info, model[side], side)
    if (found := 4 * weight_count(model, info)) > bounds.NUMBERS:
        raise LmcError(
            f"model: found {found:,} numbers that training one network holds (four per weight), allowed: "
            f"{bounds.NUMBERS:,}; give a smaller network"
        )
    if (divisor := given.get("optimizer.lr_divisor")) is not None:
        template["optimizer"]["lr"] /= _positions(settings, info)[0] if divisor == "positions" else divisor
    return template


def weight_count(model: dict[str, Any], info: DatasetInfo) -> int:
    """Return how many weights the matrices of a network of ours have; 0 for one of the user's."""
    channels, height, width = info.shape
    match model["kind"]:
        case "mlp":
            hidden = [model["width"]] * (model["depth"] - 1)
            return sum(a * b for a, b in pairwise([channels * height * width, *hidden, info.classes]))
        case "local" | "conv" as kind:
            units = patch_count(info, model["kernel"], "kernel") * model["filters"]
            banks = units if kind == "local" else model["filters"]
            return int(banks * channels * model["kernel"] ** 2 + units * info.classes)
        case "attention":
            d = model["heads"] * model["head_dim"]
            return int(d * (4 * d + channels * model["patch"] ** 2 + info.classes))
    return 0


def _positions(settings: Settings, info: DatasetInfo) -> tuple[int, PatchShape]:
    """Return the number of positions of the settings' locally connected layer on an image, and its shape."""
    given = {name: settings.model[name] for name in PatchShape.model_fields if name in settings.model}
    shape = validate(PatchShape, given, "positions of a locally connected layer")
    return patch_count(info, shape.kernel, "kernel"), shape


def _model(settings: Settings, info: DatasetInfo) -> dict[str, Any]:
    """Return the settings for a network of their kind, without sizes of other kinds."""
    given: dict[str, Any] = {"kind": "mlp"} | settings.model
    fields = settings_class(MODELS, given["kind"]).model_fields
    made = {name: value for name, value in given.items() if name in fields}
    if given["kind"] == "local":
        if given.get("start") == "conv":
            made["start_from_conv"] = True
        if isinstance(made.get("bias"), bool):
            del made["bias"]  # an MLP's
    if given["kind"] == "mlp":
        start = given.get("start") == "local"
        if start or made.get("width") == "positions":
            count, shape = _positions(settings, info)
            units = count * shape.filters
        if start:
            made["start_from_local"] = shape
        if made.get("depth") == 1:
            return {name: value for name, value in made.items() if name not in ("width", "slope")}
        if made.get("width") == "positions":
            made["width"] = units
        if start and made.get("width") != units:
            raise LmcError(
                f"model.width: found {made.get('width')}, allowed with start: local: {units}, positions x "
                f"filters on {info.name}"
            )
    return made


def _optimizer(settings: Settings, profile: ProfileConfig) -> dict[str, Any]:
    """Return the profile's optimizer, updated by the settings."""
    given = {name: value for name, value in settings.optimizer.items() if name not in ("use", "lr_divisor")}
    use = settings.optimizer.get("use")
    if use is None:
        return given
    if use not in profile.optimizers:
        raise LmcError(f"optimizer.use: {choices(use, profile.optimizers)}")
    named = profile.optimizers[use].model_dump()
    if "beta1" in named and "momentum" in given and "momentum" not in named:
        given["beta1"] = given.pop("momentum")
    return named | given
