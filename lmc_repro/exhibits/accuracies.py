"""Table 4: final test accuracies of a study's networks, from its runs.json and cells.json alone."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.config.catalog import CATALOG
from lmc_repro.config.exhibit import AccuraciesExhibit
from lmc_repro.config.own_code import short_name
from lmc_repro.config.reported import reported_part
from lmc_repro.report.agreement import NOT_COUNTED, PAPER_EPOCHS
from lmc_repro.report.contents import Shown
from lmc_repro.report.model import Table
from lmc_repro.report.words import NOT_RUN, points

FAILED = "*"
"""The paper's mark where it has no accuracy; ours where every run diverged. It prints accuracies near chance."""


def check(exhibit: AccuraciesExhibit, where: str) -> None:
    """Raise LmcError, which begins with `where`, for a row or column that the paper does not have."""
    for row in exhibit.rows.values():
        for column in exhibit.columns.values():
            _printed(exhibit, row, column, where)


def make(exhibit: AccuraciesExhibit, results: Path, where: str) -> dict[str, Any]:
    """Return the table's places, row by row; LmcError if the study's results are missing or damaged."""
    folder = results / exhibit.study
    fix = f"run `lmc compare {exhibit.study}`"
    runs, cells = read_json(folder / "runs.json", fix), read_json(folder / "cells.json", fix)
    try:
        found = {(cell["column"], cell["row"]): _accuracies(cell, runs) for cell in cells}
        rows, columns = (_labels(axis, runs, cells) for axis in ("column", "row"))
        why = {tuple(key.split("--")): reason for key, reason in runs["not_run"].items()}
        profile, analogue = runs["profile"], runs["analogue"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LmcError(f"{folder}: not the files of a comparison ({type(error).__name__}: {error}); {fix}") from None
    return {
        "profile": profile,  # that of the results, which may differ from the active one
        "analogue": analogue,
        "study": exhibit.study,
        "rows": [{"key": key, "label": rows.get(key, key), "paper": name} for key, name in exhibit.rows.items()],
        "columns": [
            {"key": key, "label": columns.get(key, key), "paper": name} for key, name in exhibit.columns.items()
        ],
        "places": [
            {
                "row": row,
                "column": column,
                "paper": _printed(exhibit, paper_row, paper_column, where),
                "run": found.get((row, column)),
                "not_run": why.get((column, row)),
            }
            for row, paper_row in exhibit.rows.items()
            for column, paper_column in exhibit.columns.items()
        ],
    }


def show(found: dict[str, Any]) -> Shown:
    """Return the table in the paper's arrangement, ours above the paper's, and how far apart they are."""
    places = {(place["row"], place["column"]): place for place in found["places"]}
    rows: list[tuple[str, ...]] = []
    for row in found["rows"]:
        line = [places[row["key"], column["key"]] for column in found["columns"]]
        title = CATALOG[row["paper"]].title if row["paper"] in CATALOG else row["paper"]
        rows.append((row["label"], *(_ours(place["run"]) for place in line)))
        rows.append((f"paper, {title}", *(FAILED if p["paper"] is None else points(p["paper"]) for p in line)))
    shows = (
        f"Test accuracy in percent at the last epoch of {found['study']}'s networks: mean over all runs that did not "
        f"diverge, range, number of runs; {FAILED} where every run diverged, as we read the paper's mark."
    )
    if reasons := dict.fromkeys(place["not_run"] for place in found["places"] if place["not_run"]):
        shows += f" Not run: {'; '.join(reasons)}."
    header = ("test accuracy, %", *(column["label"] for column in found["columns"]))
    return _agreement(found), shows, (Table("Ours, and below it the paper's", header, tuple(rows)),)


def _printed(exhibit: AccuraciesExhibit, row: str, column: str, where: str) -> float | None:
    """Return the test accuracy that the paper prints, in percent; None where it prints "*"."""
    rows, columns = (reported_part(where, exhibit.reported, part) for part in ("rows", "columns"))
    for name, found, allowed in (("rows", row, rows), ("columns", column, columns)):
        if found not in allowed:
            raise LmcError(f"{where}.{name}: found {found!r}, allowed: {', '.join(allowed)}")
    if not isinstance(rows[row], list):
        table = exhibit.reported
        raise LmcError(f"{where}: reported: found {table!r}, which holds barriers, not accuracies; use table4")
    value = rows[row][columns.index(column)]
    return None if value is None else float(value)


def _labels(axis: str, runs: dict[str, Any], cells: list[dict[str, Any]]) -> dict[str, str]:
    """Return the labels of a study's rows or columns by key: a cell's own, which a profile may have renamed, first."""
    labels = {entry["key"]: entry["label"] for entry in runs[f"{axis}s"]}
    return labels | {cell[axis]: cell[f"{axis}_label"] for cell in cells}


def _accuracies(cell: dict[str, Any], runs: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's accuracies in percent. A diverged run has none: its guesses are no accuracy."""
    status: dict[str, str] = {}
    for pair in cell["pairs"]:
        status |= dict(zip(pair["fingerprints"], pair["status"], strict=True))
    errors = {run["fingerprint"]: run["test_error"] for run in runs["runs"]}
    values = [100.0 * (1.0 - errors[name]) for name in status if status[name] != "diverged"]
    counts = Counter(status.values())
    return {
        "dataset": short_name(cell["config"]["data"]["dataset"]),
        "epochs": cell["config"]["epochs"],
        "n_runs": len(status),
        "diverged": counts["diverged"],
        "collapsed": counts["collapsed"],
        "values": [round(value, 6) for value in values],
        "mean": statistics.fmean(values) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
    }


def _ours(run: dict[str, Any] | None) -> str:
    if run is None:
        return NOT_RUN
    parts = []
    if run["mean"] is not None:
        parts.append(f"{points(run['mean'])} ({points(run['min'])}-{points(run['max'])}), n {len(run['values'])}")
    if lost := [f"{run[why]} {why}" for why in ("diverged", "collapsed") if run[why]]:
        parts.append(f"of {run['n_runs']} runs {' and '.join(lost)}")
    return f"{FAILED} {'; '.join(parts)}" if _failed(run) else "; ".join(parts)


def _failed(run: dict[str, Any]) -> bool:
    return bool(run["diverged"] == run["n_runs"])


def _agreement(found: dict[str, Any]) -> str:
    """Return how ours compare with the paper's where data set and epochs are its own; never one percentage."""
    if found["analogue"]:
        return NOT_COUNTED
    names = {row["key"]: row["paper"] for row in found["rows"]}
    counted = [
        (place["paper"], run)
        for place in found["places"]
        if (run := place["run"]) and (run["dataset"], run["epochs"]) == (names[place["row"]], PAPER_EPOCHS)
    ]
    if not counted:
        return "No network has the paper's data set and epochs: no agreement is counted."
    marked = [_failed(run) for paper, run in counted if paper is None]
    printed = [_failed(run) for paper, run in counted if paper is not None]
    apart = [abs(run["mean"] - paper) for paper, run in counted if paper is not None and run["mean"] is not None]
    said = []
    if marked:
        places = f"{len(marked)} place{'' if len(marked) == 1 else 's'}"
        said.append(f"of {places} that the paper marks {FAILED} ours are {sum(marked)} {FAILED}")
    if printed:
        text = f"of {len(printed)} printed accuracies ours are {sum(printed)} {FAILED}"
        if apart:
            near = sum(distance <= 1.0 for distance in apart)
            text += f", {near} within 1 point, the farthest {points(max(apart))} points away"
        said.append(text)
    return f"Agreement with the paper: {'; '.join(said)}."
