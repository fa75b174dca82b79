"""Writes the report: index.html, report.md, the figures of each study, and metrics.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.common.files import write_atomic, write_json
from lmc_repro.report.contents import Report
from lmc_repro.report.document import report_document
from lmc_repro.report.html import html_page
from lmc_repro.report.table import StudyTable
from lmc_repro.report.text import markdown


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report below `folder` and return the files written; equal results give equal bytes."""
    document = report_document(report)
    contents = {
        f"figures/{figure.name}.{kind}": content
        for figure in document.figures()
        for kind, content in figure.files.items()
    }
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
            verdict = entry.verdict(split)
            summary = entry.cell.summary[split]
            for name, mean in (("barrier", summary.mean), ("line", summary.line_mean)):
                numbers[f"{split}_{name}"] = None if mean is None else round(mean, 4)
            numbers[f"{split}_disconnected"] = None if verdict is None else int(verdict == "disconnected")
        metrics[entry.cell.key] = numbers
    return metrics
