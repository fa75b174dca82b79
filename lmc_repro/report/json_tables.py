"""The tables of a report as JSON: every entry of the grid, run or not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.report.table import Entry, StudyTable, untrained


def tables_json(tables: Sequence[StudyTable]) -> str:
    """Return {study: {title, profile, analogue, threshold, cells}}; barriers in points, null where there is none."""
    studies = {}
    for table in tables:
        results = table.results
        studies[results.study] = {
            "title": results.title,
            "question": results.question,
            "profile": results.profile,
            "analogue": results.analogue,
            "threshold": results.threshold,
            "cells": [_entry(entry) for entry in table.entries],
        }
    return json.dumps(studies, indent=2, allow_nan=False)


def _entry(entry: Entry) -> dict[str, Any]:
    place = {"row": entry.row.key, "column": entry.column.key, "label": entry.label, "paper": entry.paper}
    if entry.cell is None:
        return {**place, "run": False}
    summaries: dict[str, Any] = {split: dataclasses.asdict(entry.cell.summary[split]) for split in SPLITS}
    return {**place, "run": True, "n": entry.n, "untrained": untrained(entry.cell), **summaries}
