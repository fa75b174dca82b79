"""Writes the report: index.html, report.md, a figure a study, and metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.files import write_atomic, write_json
from lmc_repro.report.figures import curves_figure
from lmc_repro.report.markdown import agreement_markdown, legend_markdown, provenance_markdown, study_markdown
from lmc_repro.report.page import html_page
from lmc_repro.report.read import has_results, read_study
from lmc_repro.report.records import PaperTable
from lmc_repro.report.table import StudyTable, study_table
from lmc_repro.report.words import NOT_RUN, PAPER

INTRODUCTION = f"""# Linear mode connectivity: results

Two networks are trained from the same initialisation with different SGD noise. On the straight line between their
weights, does the error rise? Each cell below trains such pairs and measures errors at evenly spaced points of the line.

How to read it:

- **Barrier** (Eq. 1): the largest error on the path minus the mean error of its two ends, in percentage points. A cell
  shows the mean over its trainer seeds, test / train, then the range; n is the number of trainer seeds.
- **Verdict**: `connected` if the mean barrier is below the threshold, else `disconnected` (bold). The strict verdict
  asks every pair; it is shown where it differs (`mixed`: the pairs do not agree).
- **No verdict**: an endpoint diverged or did not learn. A collapsed network has barrier 0 and would pass for connected.
- **Floor**: half the difference of the ends; Eq. 1 cannot be lower. **Line**: the largest rise above the chord between
  the ends. **Normalised**: the barrier as a share of the test accuracy (Eq. 2); ordered, not judged. **Error of the
  ends**: the mean error of all endpoints, collapsed ones too. **sd** (n - 1) from three trainer seeds on.
- **{PAPER}**: what the paper prints. Never ours.

Flags:

{legend_markdown()}"""


def write_report(
    results_dir: Path, report_dir: Path, studies: Sequence[str], paper: Mapping[str, PaperTable] | None = None
) -> list[Path]:
    """Write the report of results_dir/<study>/ and return the files written; LmcError on damaged results.

    A study without results is reported as not run. `paper` holds the paper's table of a study, where it is wanted for
    cells that were not run.
    """
    tables: dict[str, StudyTable | None] = {}
    for study in studies:
        folder = results_dir / study
        tables[study] = study_table(read_study(folder), (paper or {}).get(study)) if has_results(folder) else None
    written = []
    for study, table in tables.items():
        for kind, content in curves_figure(table).items() if table else ():
            written.append(report_dir / "figures" / f"{study}.{kind}")
            write_atomic(written[-1], content)
    pages = {"index.html": html_page(tables), "report.md": report_markdown(tables)}
    for name, text in pages.items():
        written.append(report_dir / name)
        write_atomic(written[-1], text.encode())
    written.append(report_dir / "metrics.json")
    write_json(written[-1], {study: study_metrics(table) for study, table in tables.items() if table})
    return written


def report_markdown(tables: Mapping[str, StudyTable | None]) -> str:
    """Return report.md: how to read it, each study, agreement with the paper, provenance."""
    parts = [INTRODUCTION]
    for study, table in tables.items():
        parts.append(
            study_markdown(table, f"figures/{study}.svg")
            if table
            else f"## {study}\n\n{NOT_RUN}: no results; `lmc compare {study}` makes them.\n"
        )
    found = [table for table in tables.values() if table]
    if ours := [table for table in found if not table.results.analogue]:
        parts.append(f"## Agreement with the paper\n\n{agreement_markdown(ours)}")
    if found:
        parts.append(f"## Where the hyper-parameters come from\n\n{provenance_markdown([t.results for t in found])}")
    return "\n".join(parts)


def study_metrics(table: StudyTable) -> dict[str, Any]:
    """Return a study's numbers for `dvc metrics`: barriers in points, `disconnected` 1 or 0, null without a verdict."""
    metrics: dict[str, Any] = {}
    for entry in table.entries:
        if entry.cell is None:
            continue
        numbers: dict[str, Any] = {"n": entry.n}
        for split in SPLITS:
            verdict = entry.verdict(split)
            mean = entry.cell.summary[split].mean
            numbers[f"{split}_barrier"] = None if mean is None else round(mean, 4)
            numbers[f"{split}_disconnected"] = None if verdict is None else int(verdict == "disconnected")
        metrics[entry.cell.key] = numbers
    return metrics
