"""What the paper prints for an exhibit, by the names in params.yaml."""

from __future__ import annotations

from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.studies.reported import reported_tables


def printed_millions(where: str, table: str, name: str) -> float:
    """Return a network's parameters in millions; LmcError that begins with `where` if the paper has no such entry."""
    counts = _table(where, table, "millions")
    if name not in counts:
        raise LmcError(f"{where}: reported: found {name!r}, allowed: {', '.join(counts)}")
    return float(counts[name])


def printed_accuracy(where: str, table: str, row: str, column: str) -> float | None:
    """Return a test accuracy in percent, None where the paper prints "*"; LmcError as above."""
    rows, columns = _table(where, table, "rows"), _table(where, table, "columns")
    if row not in rows:
        raise LmcError(f"{where}.rows: found {row!r}, allowed: {', '.join(rows)}")
    if column not in columns:
        raise LmcError(f"{where}.columns: found {column!r}, allowed: {', '.join(columns)}")
    if not isinstance(rows[row], list):
        raise LmcError(f"{where}: reported: found {table!r}, which holds barriers, not accuracies; use table4")
    value = rows[row][columns.index(column)]
    return None if value is None else float(value)


def _table(where: str, table: str, part: str) -> Any:
    tables = reported_tables()
    if table not in tables or part not in tables[table]:
        allowed = [name for name, found in tables.items() if part in found]
        raise LmcError(f"{where}: reported: found {table!r}, allowed: {', '.join(allowed)}")
    return tables[table][part]
