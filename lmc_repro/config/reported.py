"""The paper's printed numbers (reported.yaml, package data): shown beside ours, never as ours."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from lmc_repro.common.errors import LmcError, choices
from lmc_repro.config.exhibit import Claim
from lmc_repro.config.load import read_yaml, validate


@cache
def reported_tables() -> dict[str, Any]:
    """Return all of reported.yaml: barriers in percentage points."""
    with as_file(files("lmc_repro.config") / "reported.yaml") as path:
        tables: dict[str, Any] = read_yaml(path)
    return tables


def reported_part(where: str, table: str, part: str) -> Any:
    """Return a part of one of the paper's tables; LmcError that begins with `where` if it has none."""
    tables = reported_tables()
    if table not in tables or part not in tables[table]:
        allowed = [name for name, found in tables.items() if part in found]
        raise LmcError(f"{where}: reported: {choices(table, allowed)}")
    return tables[table][part]


def reported_barrier(table: str | None, row: str | None, column: str | None) -> dict[str, float] | None:
    """Return {"test": points, "train": points} as the paper prints them, or None where it prints nothing."""
    if table is None or row is None or column is None:
        return None
    try:
        pair = reported_tables()[table]["rows"][row][column]
    except KeyError as key:
        raise LmcError(f"params.yaml: reported: the paper's {table} has no {key}; see reported.yaml") from None
    return None if pair is None else {"test": float(pair[0]), "train": float(pair[1])}


def of_paper(study: str, numbers: Iterable[object]) -> bool:
    """Return whether a study is the paper's: by its name among tables and claims, or by any of its cells' numbers."""
    tables = reported_tables()
    return study in tables or study in tables["claims"] or any(numbers)


def reported_claim(study: str) -> Claim | None:
    """Return the paper's claims about the table or figure of this name, or None."""
    claims = reported_tables()["claims"]
    return validate(Claim, claims[study], f"reported.yaml: claims.{study}") if study in claims else None
