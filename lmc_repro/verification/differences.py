"""Differences between recorded and recomputed bytes: counted checks, the first key that differs, a stored training."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes
from lmc_repro.config.base import parse_epoch
from lmc_repro.notebook.compare_runs import StoredTraining
from lmc_repro.tracking.content import METRICS, Point, training_points
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.run_folder import RunFolder, checkpoint_name, kept_epochs, parse_metrics

K = TypeVar("K")

Where = Literal["stored", "data", "init", "order", "augmentation", "training", "path"]
"""Where a difference lies, causes before effects; `stored`: a stored copy is damaged."""

CSV_KEYS = ("cell", "pair", "epoch", "run", "x", "y", "split", "alpha")
"""Columns of metrics.csv, curves.csv and planes.csv that name a row."""


@dataclass(frozen=True)
class Finding:
    """One difference from the record, at an epoch where it belongs to one."""

    where: Where
    text: str
    epoch: float | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts causes before effects, and earlier epochs before later ones."""
        return get_args(Where).index(self.where), -1.0 if self.epoch is None else self.epoch


@dataclass(frozen=True)
class Check:
    """One kind of comparison: `equal` of `total` things are as recorded; a total of 0 means that none is recorded."""

    name: str
    equal: int
    total: int


class Tally:
    """Counts comparisons by kind, in the order of their first one, and keeps each finding once."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._findings: dict[Finding, None] = {}

    def count(self, name: str, equal: int, total: int = 1) -> None:
        """Count comparisons of one kind without a finding."""
        known = self._checks.get(name, Check(name, 0, 0))
        self._checks[name] = Check(name, known.equal + equal, known.total + total)

    def find(self, text: str, where: Where = "stored", epoch: float | None = None) -> None:
        """Keep a finding that belongs to no count."""
        self._findings[Finding(where, text, epoch)] = None

    def add(self, name: str, problem: str | None, where: Where = "stored", epoch: float | None = None) -> bool:
        """Count one comparison and keep its problem, if any; return whether there is none."""
        self.count(name, problem is None)
        if problem is not None:
            self.find(problem, where, epoch)
        return problem is None

    def attempt(self, name: str, find_problem: Callable[..., str | None], *arguments: Any) -> None:
        """Count a comparison whose problem `find_problem` returns, or raises as an LmcError."""
        try:
            self.add(name, find_problem(*arguments))
        except LmcError as error:
            self.add(name, str(error))

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(self._checks.values())

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings)


def differences(recorded: Mapping[K, Any], made: Mapping[K, Any]) -> Iterator[tuple[K, Any, Any]]:
    """Yield (key, recorded value, recomputed value) wherever two mappings differ; None for a key that one lacks."""
    for key in {**recorded, **made}:
        if (there := recorded.get(key)) != (here := made.get(key)):
            yield key, there, here


def explain(name: str, recorded: bytes, made: bytes) -> str:
    """Return one line on the first key of a CSV or JSON file whose values differ, and on how many more do."""
    apart = list(differences(values(name, recorded), values(name, made)))
    if not apart:
        return "equal values in other bytes"
    key, *pair = apart[0]
    there, here = ("absent" if value is None else value for value in pair)
    return f"{key} is {there}, recomputed {here}" + (f" (and {len(apart) - 1} more)" if len(apart) > 1 else "")


def values(name: str, content: bytes) -> dict[str, Any]:
    """Return the values of a file by words that name their place in it.

    In a CSV file: the row's key columns and the column, `epoch 4, split test: wrong`. In JSON: dotted keys, entries of
    a list by their cell, pair or fingerprint. In path.json, a table of MLflow's: column and alpha, error counts first.

    Raises:
        ValueError, KeyError, TypeError, IndexError: The content is not that of such a file.
    """
    if name.endswith(".csv"):
        found: dict[str, Any] = {}
        for row in csv.DictReader(content.decode().splitlines()):
            place = ", ".join(f"{key} {row[key]}" for key in CSV_KEYS if key in row)
            found |= {f"{place}: {column}": value for column, value in row.items() if column not in CSV_KEYS}
        return found
    read = json.loads(content)
    if name != "path.json":
        return _leaves("", read)
    columns = {str(title): [row[i] for row in read["data"]] for i, title in enumerate(read["columns"])}
    return {
        f"{title} at alpha {alpha:g}": value
        for title in sorted(columns, key=lambda title: not title.endswith("_wrong"))
        for alpha, value in zip(columns["alpha"], columns[title], strict=True)
    }


def _leaves(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = {_entry_name(entry, i): entry for i, entry in enumerate(value)}
    if not isinstance(value, dict):
        return {key: value}
    found: dict[str, Any] = {}
    for name, entry in value.items():
        found |= _leaves(f"{key}.{name}" if key else name, entry)
    return found


def _entry_name(entry: Any, index: int) -> str:
    named = (name for name in ("fingerprint", "pair", "cell") if isinstance(entry, dict) and name in entry)
    return next((f"{name} {entry[name]}" for name in named), str(index))


TAGGED = ("init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")

Points = dict[tuple[str, int], float]
"""Values by metric and step."""


class RecordedTraining(StoredTraining):
    """A finished training in MLflow as a record: its status.json holds the sha256 of every other file."""

    @property
    def checkpoints(self) -> dict[str, float]:
        """The evaluation epochs by the names of their files, those that were not kept included."""
        epochs = sorted(map(parse_epoch, self.run.status["checkpoints"]))
        return {f"checkpoints/{checkpoint_name(epoch)}": epoch for epoch in epochs}

    @property
    def kept(self) -> list[str]:
        """The names of the files that MLflow should hold, but for status.json."""
        lost = set(self.checkpoints.values()) - set(kept_epochs(self.run.status))
        return [name for name in self.run.status["files"] if self.checkpoints.get(name) not in lost]

    def file(self, name: str) -> tuple[str, bytes]:
        """Return the address and the content of a file of the run, compared with nothing."""
        if (epoch := self.checkpoints.get(name)) is None:
            return self.reader.artifact(self.stored, name)
        path, content = self.reader.stored_checkpoint(self.run, epoch)
        return str(path), content

    def damage(self, name: str) -> str | None:
        """Return one line if MLflow's copy of a file does not have the sha256 that status.json records."""
        try:
            place, content = self.file(name)
        except LmcError as error:
            return str(error)
        found, recorded = sha256_bytes(content), str(self.run.status["files"][name])
        damaged = f"{place}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}; {REBUILD}"
        return None if found == recorded else damaged

    def problem(self, folder: RunFolder) -> str | None:
        """Return one line if MLflow's copy of the training differs from its run folder."""
        for name in ("status.json", "config.json", "metrics.csv"):
            place, content = self.file(name)
            if content != (folder.path / name).read_bytes():
                return f"{place}: other bytes than {folder.path / name}; {REBUILD}"
        return self.shown_otherwise()

    def shown_otherwise(self) -> str | None:
        """Return one line if the run's tags or metrics in MLflow are not those of its status.json and metrics.csv."""
        for key in TAGGED:
            tag, recorded = self.stored.tags.get(f"lmc.{key}"), self.run.status.get(key)
            if tag is not None and tag != str(recorded):
                return f"{self.file('status.json')[0]}: {key} is {recorded}, the run's tag says {tag}; {REBUILD}"
        place, content = self.file("metrics.csv")
        try:
            points = training_points(parse_metrics(content.decode("ascii")))
        except (ValueError, KeyError, TypeError):
            raise LmcError(f"{place}: not the metrics of a training; {REBUILD}") from None
        return points_problem(self.stored, logged_points(self.reader, self.stored, METRICS), points)


def logged_points(reader: Reader, run: StoredRun, metrics: Iterable[str]) -> Points:
    """Return all points of those metrics that the store has of a run."""
    return {(name, step): v for name, points in reader.history(run, metrics).items() for step, v in points}


def points_problem(run: StoredRun, logged: Points, expected: Iterable[Point]) -> str | None:
    """Return one line on the first point of a run that is not the one its files give, None if all are."""
    made = {(point.name, point.step): point.value for point in expected}
    for (name, step), there, here in sorted(differences(logged, made)):
        who = f"run {run.run_id} ({run.tags.get('mlflow.runName')})"
        return f"metric {name} at step {step} is {there} in {who}, its files give {here}; {REBUILD}"
    return None
