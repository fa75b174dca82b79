"""Differences between recorded and recomputed bytes: counted checks, and the first key that differs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from lmc_repro.common.errors import LmcError

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
