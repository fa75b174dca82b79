"""Path between any two trainings that a store holds, after checking that the two make a pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.measure import measure_pair
from lmc_repro.barriers.pair import PairEnd, pair_task
from lmc_repro.barriers.results import PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import validate
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.run import RunConfig
from lmc_repro.data.status import folder_of, require_ready
from lmc_repro.models.registry import build_model, network
from lmc_repro.tracking import names
from lmc_repro.tracking.find import Reader, TrackedRun
from lmc_repro.training.checkpoint import Checkpoint

INITIALISATION = ("init", "gain", "start_from_conv", "start_from_local")  # of a model's settings


@dataclass(frozen=True)
class End:
    """One end of the path: a finished training."""

    run: TrackedRun
    config: RunConfig

    @property
    def name(self) -> str:
        return str(self.run.tags.get("mlflow.runName", self.run.run_id))

    def with_last(self, weights: Checkpoint) -> PairEnd:
        """Return the end of a path from its last weights, at whatever epoch."""
        return PairEnd(self.run.fingerprint, self.config, self.run.status, lambda epoch: weights)


@dataclass(frozen=True)
class TwoRuns:
    """Path between two runs. `differences` are the settings, seeds aside, in which the runs differ: (of a, of b)."""

    ends: tuple[End, End]
    kind: str
    differences: dict[str, tuple[Any, Any]]
    points: int
    result: PairResult


def find_end(reader: Reader, run_id: str) -> End:
    """Return a training by its run's id; LmcError if it is none, or not finished."""
    run = reader.run(run_id)
    kind = run.tags.get(names.KIND)
    if kind != "train":
        found = f"of kind {kind}" if kind else "not of this project"
        raise LmcError(f"run {run_id} is {found}, not a training; `lmc show CELL_ID` lists the trainings of a cell")
    if not run.finished:
        raise LmcError(f"run {run_id} is {run.status}: it has no final checkpoint; train it to its end first")
    config = validate(RunConfig, reader.json_artifact(run, "config.json"), f"run {run_id}: config.json", stored=True)
    return End(reader.tracked(run), config)


def check_fit(a: End, b: End, prepared: Path) -> None:
    """LmcError unless the two make a pair, and the data that they saw are those prepared here."""
    name, seen = a.config.data.dataset, str(a.run.status["data_digest"])
    check_pair(a, b, dataset_info(name).n_train)
    here = str(require_ready(prepared, name).get("digest"))
    if here != seen:
        found = f"digest {here[:12]}, but the runs saw {seen[:12]}"
        raise LmcError(f"{folder_of(prepared, name)}: {found}; prepare the data that they saw")


def check_pair(a: End, b: End, n_train: int) -> None:
    """LmcError unless a straight line between the two is a question about SGD noise or initialisation.

    They must be networks of one form, trained on the same data; and something random must differ: equal
    initialisations with equal batches leave nothing to connect.
    """
    who = f"runs {a.run.run_id} and {b.run.run_id}"
    if a.run.fingerprint == b.run.fingerprint:
        raise LmcError(f"{who}: no SGD noise: the same training, {a.run.fingerprint}; choose two trainings")
    forms = [end.config.model.model_dump(mode="json", exclude=set(INITIALISATION)) for end in (a, b)]
    if changed := _differences(forms[0], forms[1]):
        named = list(dict.fromkeys(map(network, forms)))
        told = " and ".join(named) if "kind" in changed and len(named) == 2 else _told(changed)
        raise LmcError(f"{who}: other architectures: {told}; choose two of one architecture")
    data = [(end.config.data.dataset, str(end.run.status["data_digest"])) for end in (a, b)]
    if data[0] != data[1]:
        found = " and ".join(f"{name} {digest[:12]}" for name, digest in data)
        raise LmcError(f"{who}: other data: {found}; choose two that saw the same")
    if changed := _differences(_seen(a.config), _seen(b.config)):
        raise LmcError(f"{who}: trained on other labels or images: {_told(changed)}; choose two with one setting")
    if _same_initialisation(a, b) and _same_batches(a, b, n_train):
        only = f"they differ in: {_told(settings_that_differ(a, b)) or 'nothing'}"
        same = "same initialisation, same batches"
        raise LmcError(f"{who}: no SGD noise: {same} ({only}); choose runs with different loader seeds")


def compare_runs(
    reader: Reader, ends: tuple[End, End], prepared: Path, points: int, path: PathConfig = PLAIN_PATH
) -> TwoRuns:
    """Measure the path between the last checkpoints of two runs that fit, on the prepared data, at `points` alphas."""
    a, b = ends
    expected = build_model(a.config.model, dataset_info(a.config.data.dataset)).shapes
    files = [reader.checkpoint(end.run, end.config.epochs) for end in ends]
    for end, file in zip(ends, files, strict=True):
        found = {name: tuple(tensor.shape) for name, tensor in file.tensors().items()}
        if found != expected:
            raise LmcError(f"run {end.run.run_id}: its checkpoint holds {found}, its architecture has {expected}")
    same = _same_initialisation(a, b)
    pair = a.with_last(files[0]), b.with_last(files[1])
    result = measure_pair(pair_task("two runs", pair, prepared, points, epochs=last_epoch(a, b), path=path))
    return TwoRuns((a, b), "noise" if same else "init", settings_that_differ(a, b), points, result)


def last_epoch(a: End, b: End) -> tuple[int]:
    """Return the one epoch at which the path between two last checkpoints is judged."""
    return (max(a.config.epochs, b.config.epochs),)


def settings_that_differ(a: End, b: End) -> dict[str, tuple[Any, Any]]:
    """Return the settings, seeds and marks aside, that the runs do not share."""
    apart = _differences(a.config.flat(), b.config.flat())
    return {key: pair for key, pair in apart.items() if not key.startswith(("seeds.", "evaluate_at"))}


def _seen(config: RunConfig) -> dict[str, Any]:
    """Return what is changed about the data set's labels and images before a network sees them."""
    augment = config.data.augment
    told = {} if augment is None else augment.model_dump(exclude_defaults=True)
    return {"label_noise": config.data.label_noise, "augment": " ".join(f"{k} {v}" for k, v in told.items()) or None}


def _differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _same_initialisation(a: End, b: End) -> bool:
    first, second = a.run.status["init_sha256"], b.run.status["init_sha256"]
    if first is not None and second is not None:
        return bool(first == second)
    told = [end.config.model.model_dump(include=set(INITIALISATION)) for end in (a, b)]
    return told[0] == told[1] and a.config.seeds.trainer == b.config.seeds.trainer


def _same_batches(a: End, b: End, n: int) -> bool:
    """Whether both see the same images in the same batches: of all n images at once, there is only one batch."""
    draws = [end.run.status.get("augmentation_sha256") for end in (a, b)]
    if draws[0] != draws[1]:
        return False
    if a.config.batch_size >= n and b.config.batch_size >= n:
        return True
    cut = [(end.config.batch_size, end.config.data.drop_last, end.run.status["order_sha256"]) for end in (a, b)]
    return cut[0] == cut[1]


def _told(changed: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{key} {first} and {second}" for key, (first, second) in changed.items())
