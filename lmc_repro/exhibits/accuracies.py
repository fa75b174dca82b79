"""Final test accuracies of a study's networks (paper, Table 4), from its runs.json and cells.json alone."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.exhibits.paper import printed_accuracy
from lmc_repro.files import read_json
from lmc_repro.schemas.exhibit import AccuraciesExhibit


def accuracies(exhibit: AccuraciesExhibit, results: Path) -> dict[str, Any]:
    """Return the table's places, row by row; LmcError if the study's results are missing or damaged."""
    folder = results / exhibit.study
    fix = f"run `lmc compare {exhibit.study}`"
    runs, cells = read_json(folder / "runs.json", fix), read_json(folder / "cells.json", fix)
    try:
        found = {(cell["column"], cell["row"]): _cell(cell, runs) for cell in cells}
        # A profile may name a row or column otherwise; the cells have its names.
        rows = {entry["key"]: entry["label"] for entry in runs["columns"]}
        rows |= {cell["column"]: cell["column_label"] for cell in cells}
        columns = {entry["key"]: entry["label"] for entry in runs["rows"]}
        columns |= {cell["row"]: cell["row_label"] for cell in cells}
        why = {tuple(key.split("--")): reason for key, reason in runs["not_run"].items()}
        profile, analogue = runs["profile"], runs["analogue"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LmcError(f"{folder}: not the files of a comparison ({type(error).__name__}: {error}); {fix}") from None
    places = []
    for row, paper_row in exhibit.rows.items():
        for column, paper_column in exhibit.columns.items():
            places.append(
                {
                    "row": row,
                    "column": column,
                    "paper": printed_accuracy(f"exhibit of {exhibit.study}", exhibit.reported, paper_row, paper_column),
                    "run": found.get((row, column)),
                    "not_run": why.get((column, row)),
                }
            )
    return {
        "profile": profile,  # the results', which may be another than the active one
        "analogue": analogue,
        "study": exhibit.study,
        "rows": [{"key": key, "label": rows.get(key, key), "paper": name} for key, name in exhibit.rows.items()],
        "columns": [
            {"key": key, "label": columns.get(key, key), "paper": name} for key, name in exhibit.columns.items()
        ],
        "places": places,
    }


def _cell(cell: dict[str, Any], runs: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's accuracies in percent. A run that diverged has none: what it guesses is no accuracy."""
    status: dict[str, str] = {}
    for pair in cell["pairs"]:
        status |= dict(zip(pair["fingerprints"], pair["status"], strict=True))
    errors = {run["fingerprint"]: run["test_error"] for run in runs["runs"]}
    kept = [name for name in status if status[name] != "diverged"]
    values = [100.0 * (1.0 - errors[name]) for name in kept]
    counts = Counter(status.values())
    return {
        "dataset": cell["config"]["data"]["dataset"],
        "epochs": cell["config"]["epochs"],
        "n_runs": len(status),
        "diverged": counts["diverged"],
        "collapsed": counts["collapsed"],
        "values": [round(value, 6) for value in values],
        "mean": statistics.fmean(values) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
    }
