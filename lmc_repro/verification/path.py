"""The path of a pair against the one between the networks made again: count by count, number by number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lmc_repro.barriers.results import PairResult
from lmc_repro.errors import LmcError
from lmc_repro.tracking.pairs import TABLE, pair_points, path_table
from lmc_repro.tracking.reader import Reader
from lmc_repro.tracking.stored_run import StoredRun
from lmc_repro.verification.certificate import Check, Finding

Columns = dict[str, list[Any]]


def read_path(reader: Reader, run: StoredRun) -> Columns:
    """Return the columns of a pair's path.json: alpha, then wrong, n, error and loss of each split."""
    table = reader.json_artifact(run, TABLE)
    try:
        columns = {str(name): [row[i] for row in table["data"]] for i, name in enumerate(table["columns"])}
        if len(columns["alpha"]) < 2:
            raise ValueError("fewer than two points")
    except (KeyError, TypeError, IndexError, ValueError) as error:
        told = f"run {run.run_id}: {TABLE}: not the table of a path ({error})"
        raise LmcError(f"{told}; compare the study again") from None
    return columns


def compare_path(
    reader: Reader, run: StoredRun, recorded: Columns, result: PairResult
) -> tuple[list[Check], list[Finding]]:
    """Compare a pair's stored path and numbers with `result`."""
    table = json.loads(path_table(result.final))
    made: Columns = {name: [row[i] for row in table["data"]] for i, name in enumerate(table["columns"])}
    checks, findings = [], []
    for kind in ("wrong", "loss"):
        names = [name for name in made if name.endswith(f"_{kind}")]
        apart = [finding for name in names for finding in _column(name, recorded, made)]
        total = sum(len(made[name]) for name in names)
        checks.append(Check({"wrong": "error counts", "loss": "losses"}[kind], total - len(apart), total))
        findings += apart
    logged = {(name, step): v for name, points in reader.history(run, run.metrics).items() for step, v in points}
    apart = list(_points(run, logged, result))
    checks.append(Check("numbers in MLflow", len(logged) - len(apart), len(logged)))
    return checks, [*findings, *apart]


def _column(name: str, recorded: Columns, made: Columns) -> Iterator[Finding]:
    there = recorded.get(name, [])
    for i, (alpha, value) in enumerate(zip(made["alpha"], made[name], strict=True)):
        if i >= len(there) or there[i] != value:
            told = there[i] if i < len(there) else "nothing"
            yield Finding("path", f"{name.replace('_', ' ')} at alpha {alpha:g}: {value}, recorded {told}")


def _points(run: StoredRun, logged: dict[tuple[str, int], float], result: PairResult) -> Iterator[Finding]:
    """Yield the logged numbers that come out otherwise."""
    expected = {(point.name, point.step): point.value for point in pair_points(result)}
    for (name, step), value in sorted(logged.items()):
        if expected.get((name, step)) != value:
            made = expected.get((name, step))
            yield Finding("path", f"metric {name} at step {step} of run {run.run_id}: {made}, recorded {value}")
