"""The report as JSON: every entry of every grid, run or not, the statements, and what was not run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.report.contents import Report, StudyPart
from lmc_repro.report.overview import overview
from lmc_repro.report.table import Entry, StudyTable, untrained


def report_json(report: Report) -> str:
    """Return all of a report: `overview`, `studies` (their cells and statements), `exhibits` and `not_run`.

    Barriers in points, null where there is none; studies and exhibits by key.
    """
    studies = {part.study: _study(part.table, part) for part in report.parts if part.table is not None}
    return json.dumps(
        {
            "overview": [dataclasses.asdict(line) for line in overview(report)],
            "studies": studies,
            "exhibits": {exhibit.key: exhibit.data for exhibit in report.exhibits},
            "not_run": [dataclasses.asdict(cell) for cell in report.not_run],
        },
        indent=2,
        allow_nan=False,
    )


def _study(table: StudyTable, part: StudyPart) -> dict[str, Any]:
    results = table.results
    return {
        "title": results.title,
        "question": results.question,
        "profile": results.profile,
        "analogue": results.analogue,
        "threshold": results.threshold,
        "cells": [_entry(entry) for entry in table.entries],
        "statements": [dataclasses.asdict(found) | {"outcome": found.outcome} for found in part.findings],
        "left_out": [dataclasses.asdict(left) for left in results.left_out],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    place = {"row": entry.row.key, "column": entry.column.key, "label": entry.label, "paper": entry.paper}
    if entry.cell is None:
        return {**place, "run": False, "left_out": entry.left_out}
    summaries: dict[str, Any] = {split: dataclasses.asdict(entry.cell.summary[split]) for split in SPLITS}
    return {**place, "run": True, "n": entry.n, "untrained": untrained(entry.cell), **summaries}
