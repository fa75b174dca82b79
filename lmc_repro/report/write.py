"""Writes the report: index.html, report.md, figures, tables, metrics.json; or all of it as one JSON value."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.common.files import write_atomic, write_json
from lmc_repro.report.contents import Report, StudyPart, overview
from lmc_repro.report.document import report_document
from lmc_repro.report.grid import Entry, StudyTable, untrained
from lmc_repro.report.html import html_page
from lmc_repro.report.text import csv_table, latex_table, markdown


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report below `folder` and return the files written; equal results give equal bytes."""
    document = report_document(report)
    contents = {
        f"figures/{figure.name}.{kind}": content
        for figure in document.figures()
        for kind, content in figure.files.items()
    }
    for table in document.tables():
        contents[f"tables/{table.name}.csv"] = csv_table(table).encode()
        contents[f"tables/{table.name}.tex"] = latex_table(table).encode()
    contents |= {"index.html": html_page(document).encode(), "report.md": markdown(document).encode()}
    for name, content in contents.items():
        write_atomic(folder / name, content)
    metrics = {part.study: study_metrics(part.table) for part in report.parts if part.table}
    write_json(folder / "metrics.json", metrics)
    return [folder / name for name in (*contents, "metrics.json")]


def study_metrics(table: StudyTable) -> dict[str, Any]:
    """Return a study's numbers for `dvc metrics`: barriers in points, `disconnected` 1 or 0, null without a verdict.

    A barrier at or above the threshold that is not disconnected is one of unequal ends: its line barrier is below.
    """
    metrics: dict[str, Any] = {}
    for entry in table.entries:
        if entry.cell is None:
            continue
        numbers: dict[str, Any] = {"n": entry.n}
        for split in SPLITS:
            summary, verdict = entry.cell.summary[split], entry.verdict(split)
            for name, mean in (("barrier", summary.mean), ("line", summary.line_mean)):
                numbers[f"{split}_{name}"] = None if mean is None else round(mean, 4)
            numbers[f"{split}_disconnected"] = None if verdict is None else int(verdict == "disconnected")
        metrics[entry.cell.key] = numbers
    return metrics


def report_json(report: Report) -> str:
    """Return all of a report: `overview`, `studies` (their cells and statements), `exhibits` and `not_run`.

    Barriers in points, null where there is none; studies and exhibits by key.
    """
    found = {
        "overview": [dataclasses.asdict(line) for line in overview(report)],
        "studies": {part.study: _study(part, part.table) for part in report.parts if part.table is not None},
        "exhibits": {exhibit.key: exhibit.data for exhibit in report.exhibits},
        "not_run": [dataclasses.asdict(cell) for cell in report.not_run],
    }
    return json.dumps(found, indent=2, allow_nan=False)


def _study(part: StudyPart, table: StudyTable) -> dict[str, Any]:
    names = ("title", "question", "profile", "analogue", "threshold")
    return {
        **{name: getattr(table.results, name) for name in names},
        "cells": [_entry(entry) for entry in table.entries],
        "statements": [dataclasses.asdict(found) | {"outcome": found.outcome} for found in part.findings],
        "left_out": [dataclasses.asdict(left) for left in table.results.left_out],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    place = {"row": entry.row.key, "column": entry.column.key, "label": entry.label, "paper": entry.paper}
    if entry.cell is None:
        return {**place, "run": False, "left_out": entry.left_out}
    summaries: dict[str, Any] = {split: dataclasses.asdict(entry.cell.summary[split]) for split in SPLITS}
    return {**place, "run": True, "n": entry.n, "untrained": untrained(entry.cell), **summaries}
