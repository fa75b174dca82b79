"""Path between any two trainings that a store holds, after checking that the two make a pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from lmc_repro.barriers.measure import measure_pair
from lmc_repro.barriers.pair import PairEnd, PairTask, pair_task
from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import validate
from lmc_repro.config.own_code import short_name
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.run import RunConfig
from lmc_repro.config.study import Judgement
from lmc_repro.data.status import folder_of, require_ready
from lmc_repro.models.registry import build_model, network
from lmc_repro.report.run_text import path_lines, split_records
from lmc_repro.tracking.find import Reader, StoredRun, TrackedRun

INITIALISATION = {"init", "gain", "start_from_conv", "start_from_local"}  # of a model's settings
Ends = tuple[PairEnd, PairEnd]


@dataclass(frozen=True)
class StoredTraining:
    """A finished training in MLflow; LmcError where what it should hold cannot be read."""

    reader: Reader
    stored: StoredRun

    @classmethod
    def find(cls, reader: Reader, run_id: str) -> Self:
        """Return a training by its run's id; LmcError if it is none, or not finished."""
        run = reader.run(run_id)
        if run.kind != "train":
            found = "not of this project" if run.kind == "other" else f"of kind {run.kind}"
            raise LmcError(f"run {run_id} is {found}, not a training; `lmc show CELL_ID` lists the trainings of a cell")
        if not run.finished:
            raise LmcError(f"run {run_id} is {run.status}: it has no final checkpoint; train it to its end first")
        return cls(reader, run)

    @cached_property
    def run(self) -> TrackedRun:
        """The run with its status.json and the places of its weights."""
        return self.reader.tracked(self.stored)

    @property
    def name(self) -> str:
        return self.stored.tags.get("mlflow.runName", self.stored.run_id)

    @cached_property
    def end(self) -> PairEnd:
        """The training as one end of a path."""
        read = self.reader.json_artifact(self.stored, "config.json")
        config = validate(RunConfig, read, f"run {self.stored.run_id}: config.json", stored=True)
        return PairEnd(self.run.fingerprint, config, self.run.status, partial(self.reader.checkpoint, self.run))


def check_fit(ends: Ends, prepared: Path, who: str) -> None:
    """Raise LmcError unless the two make a pair, trained on the data prepared here."""
    name, seen = ends[0].config.data.dataset, str(ends[0].status["data_digest"])
    check_pair(ends, dataset_info(name).n_train, who)
    here = str(require_ready(prepared, name).get("digest"))
    if here != seen:
        found = f"digest {here[:12]}, but the runs saw {seen[:12]}"
        raise LmcError(f"{folder_of(prepared, name)}: {found}; prepare the data that they saw")


def check_pair(ends: Ends, n_train: int, who: str) -> None:
    """Raise LmcError, beginning with `who`, unless a line between the two asks about SGD noise or initialisation.

    They must be networks of one form, trained on the same data; and something random must differ: equal
    initialisations with equal batches leave nothing to connect.
    """
    if ends[0].fingerprint == ends[1].fingerprint:
        raise LmcError(f"{who}: no SGD noise: the same training, {ends[0].fingerprint}; choose two trainings")
    forms = [end.config.model.model_dump(mode="json", exclude=INITIALISATION) for end in ends]
    if changed := _differences(*forms):
        named = list(dict.fromkeys(map(network, forms)))
        shown = " and ".join(named) if "kind" in changed and len(named) == 2 else _told(changed)
        raise LmcError(f"{who}: other architectures: {shown}; choose two of one architecture")
    data = [(end.config.data.dataset, str(end.status["data_digest"])) for end in ends]
    if data[0] != data[1]:
        found = " and ".join(f"{name} {digest[:12]}" for name, digest in data)
        raise LmcError(f"{who}: other data: {found}; choose two that saw the same")
    if changed := _differences(*(_seen(end.config) for end in ends)):
        raise LmcError(f"{who}: trained on other labels or images: {_told(changed)}; choose two with one setting")
    if _same_initialisation(ends) and _same_batches(ends, n_train):
        only = f"they differ in: {_told(settings_that_differ(ends)) or 'nothing'}"
        same = "same initialisation, same batches"
        raise LmcError(f"{who}: no SGD noise: {same} ({only}); choose runs with different loader seeds")


def last_pair(ends: Ends, prepared: Path, points: int, path: PathConfig = PLAIN_PATH) -> PairTask:
    """Return the task of the path between the last weights of two runs, at whatever epochs."""

    def last(end: PairEnd) -> PairEnd:
        return replace(end, weights=lambda epoch: end.weights(end.config.epochs))

    evaluations = (max(end.config.epochs for end in ends),)
    return pair_task("two runs", (last(ends[0]), last(ends[1])), prepared, points, evaluations=evaluations, path=path)


def compare_runs(
    runs: tuple[StoredTraining, StoredTraining], prepared: Path, points: int, judgement: Judgement, path: PathConfig
) -> dict[str, Any]:
    """Measure the path between the last weights of two trainings on the prepared data; return its record, for JSON.

    `differences` are the settings, seeds aside, in which the runs differ: (of a, of b).
    """
    ends = runs[0].end, runs[1].end
    check_fit(ends, prepared, f"runs {' and '.join(run.stored.run_id for run in runs)}")
    task, info = last_pair(ends, prepared, points, path), dataset_info(ends[0].config.data.dataset)
    expected = build_model(task.model, info).shapes
    for run, file in zip(runs, *task.weights.values(), strict=True):
        found = {name: tuple(tensor.shape) for name, tensor in file.tensors().items()}
        if found != expected:
            raise LmcError(f"run {run.stored.run_id}: its checkpoint holds {found}, its architecture has {expected}")
    result = measure_pair(task)
    return {
        "runs": [
            {
                "run_id": run.stored.run_id,
                "name": run.name,
                "fingerprint": end.fingerprint,
                "status": status,
                "epoch": end.config.epochs,
                "seeds": {k.removeprefix("seeds."): v for k, v in end.config.flat().items() if k.startswith("seeds.")},
            }
            for run, end, status in zip(runs, ends, result.final.status, strict=True)
        ],
        "kind": "noise" if _same_initialisation(ends) else "init",
        "differences": settings_that_differ(ends),
        "dataset": info.name,
        "points": points,
        "threshold": judgement.threshold,
        "distance": result.distance,
        "cosine": result.cosine,
        "disagreement": result.disagreement,
        **split_records(result.final, judgement, info.classes),
        **path.given(),
    }


def comparison_lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a record of `compare_runs`."""
    for i, end in enumerate(record["runs"]):
        seeds = ", ".join(f"{name} {seed}" for name, seed in end["seeds"].items() if seed is not None)
        yield f"theta_{i}: {end['name']}, {end['status']}, epoch {end['epoch']}, seeds: {seeds}, run {end['run_id']}"
    other = "" if record["kind"] == "noise" else "different initialisations; "
    yield f"{other}{record['points']} points on {record['dataset']}, in percentage points:"
    if align := record.get("align"):
        yield f"theta_1 is aligned by {short_name(align)}"
    for key, (first, second) in record["differences"].items():
        yield f"the runs differ in {key}: {first} and {second}"
    yield from path_lines(record, record["threshold"])


def settings_that_differ(ends: Ends) -> dict[str, tuple[Any, Any]]:
    """Return the settings, without seeds and evaluation epochs, that the runs do not share."""
    apart = _differences(*(end.config.flat() for end in ends))
    return {key: pair for key, pair in apart.items() if not key.startswith(("seeds.", "evaluate_at"))}


def _seen(config: RunConfig) -> dict[str, Any]:
    """Return the changes to the data set's labels and images before a network sees them."""
    augment = config.data.augment
    shown = {} if augment is None else augment.model_dump(exclude_defaults=True)
    return {"label_noise": config.data.label_noise, "augment": " ".join(f"{k} {v}" for k, v in shown.items()) or None}


def _differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _same_initialisation(ends: Ends) -> bool:
    first, second = (end.status["init_sha256"] for end in ends)
    if first is not None and second is not None:
        return bool(first == second)
    shown = [(end.config.model.model_dump(include=INITIALISATION), end.config.seeds.trainer) for end in ends]
    return shown[0] == shown[1]


def _same_batches(ends: Ends, n: int) -> bool:
    """Whether both see the same images in the same batches: of all n images at once, there is only one batch."""
    draws = [end.status.get("augmentation_sha256") for end in ends]
    if draws[0] != draws[1] or all(end.config.batch_size >= n for end in ends):
        return bool(draws[0] == draws[1])
    cut = [(end.config.batch_size, end.config.data.drop_last, end.status["order_sha256"]) for end in ends]
    return cut[0] == cut[1]


def _told(changed: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{key} {first} and {second}" for key, (first, second) in changed.items())
