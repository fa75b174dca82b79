"""Differences between what was recorded and what was recomputed: counted checks, and the first key that differs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

K = TypeVar("K")

Where = Literal["stored", "data", "init", "order", "augmentation", "training", "path"]
"""Where a difference lies, causes before effects; `stored`: MLflow's copy is damaged."""

ORDER: tuple[Where, ...] = ("stored", "data", "init", "order", "augmentation", "training", "path")


@dataclass(frozen=True)
class Finding:
    """One difference from the record, at an epoch where it belongs to one."""

    where: Where
    text: str
    epoch: float | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts causes before effects, and earlier epochs before later ones."""
        return ORDER.index(self.where), -1.0 if self.epoch is None else self.epoch


@dataclass(frozen=True)
class Check:
    """One kind of comparison: `equal` of `total` things are as recorded; a total of 0 means that none is recorded."""

    name: str
    equal: int
    total: int


class Tally:
    """Counts comparisons by kind and keeps one line per problem."""

    def __init__(self) -> None:
        self.problems: dict[str, None] = {}
        self._counts: dict[str, list[int]] = {}

    def add(self, name: str, problem: str | None) -> bool:
        """Count one comparison; returns whether there is no problem with it. An equal line is kept once."""
        count = self._counts.setdefault(name, [0, 0])
        count[0] += problem is None
        count[1] += 1
        if problem is not None:
            self.problems[problem] = None
        return problem is None

    @property
    def checks(self) -> tuple[Check, ...]:
        """All counts, in the order of their first comparison."""
        return tuple(Check(name, good, total) for name, (good, total) in self._counts.items())


def differences(recorded: Mapping[K, Any], made: Mapping[K, Any]) -> Iterator[tuple[K, Any, Any]]:
    """Yield (key, recorded value, recomputed value) wherever two mappings differ; None for a key that one lacks."""
    for key in {**recorded, **made}:
        if (there := recorded.get(key)) != (here := made.get(key)):
            yield key, there, here


def json_values(content: bytes) -> dict[str, Any]:
    """Return the values of a JSON file by dotted key, entries of a list by their cell, pair or fingerprint."""
    return dict(_values("", json.loads(content)))


def _values(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        entries: Iterable[tuple[str, Any]] = value.items()
    elif isinstance(value, list):
        entries = ((_entry_name(entry, i), entry) for i, entry in enumerate(value))
    else:
        yield key, value
        return
    for name, entry in entries:
        yield from _values(f"{key}.{name}" if key else name, entry)


def _entry_name(entry: Any, index: int) -> str:
    named = (name for name in ("fingerprint", "pair", "cell") if isinstance(entry, dict) and name in entry)
    return next((f"{name} {entry[name]}" for name in named), str(index))


def csv_values(content: bytes, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of a CSV file by the row's key columns and the column: `epoch 4, split test: wrong`."""
    found: dict[str, str] = {}
    for row in csv.DictReader(content.decode().splitlines()):
        place = ", ".join(f"{key} {row[key]}" for key in keys)
        found |= {f"{place}: {column}": value for column, value in row.items() if column not in keys}
    return found


def table_values(content: bytes) -> dict[str, Any]:
    """Return the values of path.json, a table of MLflow's, by column and alpha; error counts before the rest."""
    table = json.loads(content)
    columns = {str(name): [row[i] for row in table["data"]] for i, name in enumerate(table["columns"])}
    names = sorted(columns, key=lambda name: not name.endswith("_wrong"))
    return {
        f"{name} at alpha {alpha:g}": value
        for name in names
        for alpha, value in zip(columns["alpha"], columns[name], strict=True)
    }


def first_difference(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Return one line on the first key whose values differ, and on how many more do."""
    apart = list(differences(recorded, made))
    if not apart:
        return "equal values in other bytes"
    key, there, here = apart[0]
    more = f" (and {len(apart) - 1} more)" if len(apart) > 1 else ""
    return f"{key} is {_shown(there)}, recomputed {_shown(here)}{more}"


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)
