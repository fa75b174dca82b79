"""Writes the report: index.html, report.md, figures, tables, numbers and paths that DVC shows; or one JSON value."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.common.files import json_bytes, write_atomic
from lmc_repro.report.contents import Report, StudyPart, overview
from lmc_repro.report.document import report_document
from lmc_repro.report.grid import ORDER, Entry, StudyTable, untrained
from lmc_repro.report.html import html_page
from lmc_repro.report.text import csv_table, latex_table, markdown
from lmc_repro.results.pairs import mean_path


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
    tables = {part.study: part.table for part in report.parts if part.table}
    contents |= {f"paths/{study}.csv": mean_paths(table).encode() for study, table in tables.items()}
    contents |= {
        "barriers.json": json_bytes({study: study_metrics(table) for study, table in tables.items()}),
        "metrics.json": json_bytes(headline(report)),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]


def headline(report: Report) -> dict[str, Any]:
    """Return the numbers of `dvc metrics`: few enough for a table, and a change of any study changes one of them.

    Returns:
        `cells` that were run, and of those on test `disconnected`, `unequal_ends` and `no_verdict`; `statements` of
        the paper that hold or are seen; `barrier` by study: the mean over its cells of the mean test barrier (Eq. 1,
        points), null where no cell has one.
    """
    cells = {part.study: [e for e in part.table.entries if e.cell] for part in report.parts if part.table}
    verdicts = Counter(entry.verdict("test") for entries in cells.values() for entry in entries)
    means = {
        study: [m for entry in entries if (m := entry.mean("test")) is not None] for study, entries in cells.items()
    }
    return {
        "cells": verdicts.total(),
        "disconnected": verdicts["disconnected"],
        "unequal_ends": verdicts["unequal ends"],
        "no_verdict": verdicts[None],
        "statements": sum(finding.holds is True for part in report.parts for finding in part.findings),
        "barrier": {study: round(statistics.fmean(found), 4) if found else None for study, found in means.items()},
    }


def mean_paths(table: StudyTable) -> str:
    """Return CSV of each cell's path at its last epoch: row, column, split, alpha, mean error over its pairs in %."""
    lines = ["row,column,split,alpha,error"]
    for cell in (entry.cell for entry in table.entries if entry.cell is not None):
        for split in ORDER:
            curves = [table.results.curves[cell.key, pair.pair, pair.epoch, split] for pair in cell.pairs]
            mean = mean_path(curves)
            for alpha, error in zip(mean.alphas, mean.errors, strict=True):
                lines.append(f"{cell.row},{cell.column},{split},{alpha:g},{100 * error:.4g}")
    return "\n".join([*lines, ""])


def study_metrics(table: StudyTable) -> dict[str, Any]:
    """Return a study's numbers by cell: barriers in points, `disconnected` 1 or 0, null without a verdict.

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
