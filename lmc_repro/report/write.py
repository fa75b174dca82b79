"""Writes the report: index.html, report.md, the figures of each study, and metrics.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.files import write_atomic, write_json
from lmc_repro.report.contents import Report, StudyPart
from lmc_repro.report.figures import curves_figure
from lmc_repro.report.markdown import (
    agreement_markdown,
    legend_markdown,
    not_run_markdown,
    overview_markdown,
    provenance_markdown,
    section_markdown,
    study_markdown,
)
from lmc_repro.report.page import html_page
from lmc_repro.report.table import StudyTable
from lmc_repro.report.values_figure import values_figure
from lmc_repro.report.words import PAPER

INTRODUCTION = """# Linear mode connectivity: results

Two networks are trained from the same initialisation with different SGD noise. On the straight line between their
weights, does the error rise? Each cell below trains such pairs and measures errors at evenly spaced points of the line.
"""

READING = f"""How to read it:

- **Barrier** (Eq. 1): the largest error on the path minus the mean error of its two ends, in percentage points. A cell
  shows the mean over its trainer seeds, test / train, then the range; n is the number of trainer seeds.
- **Line**: the largest rise above the chord between the ends.
- **Verdict**: `connected` if the mean barrier is below the threshold, `disconnected` (bold) if the mean line barrier is
  not below it either, else `unequal ends`: one end is worse than the other, and there is no hill between them. The
  strict verdict asks every pair; it is shown where it differs (`mixed`: the pairs do not agree).
- **No verdict**: an endpoint diverged or collapsed (it is no better than a constant predictor, and its barrier of 0
  would pass for connected), or the ends are so close to chance that there is nothing to lose.
- **Floor**: half the difference of the ends; Eq. 1 cannot be lower. **Normalised**: the barrier as a share of the test
  accuracy (Eq. 2); ordered, not judged. **Error of the ends**: the mean error of all endpoints, collapsed ones too.
  **sd** (n - 1) from three trainer seeds on.
- **Statements**: what the paper says without numbers. B is the test barrier, N the normalised one, A = |N_test -
  N_train|. A seed is in favour if its own pair shows the order. Only on the paper's data and length does a statement
  hold or not hold; elsewhere it is seen or not seen. One that rests on unequal ends is not decided.
- **{PAPER}**: what the paper prints, with its data set. Never ours.

Flags:

{legend_markdown()}"""


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report below `folder` and return the files written; equal results give equal bytes."""
    written: list[Path] = []

    def write(name: str, content: bytes) -> None:
        written.append(folder / name)
        write_atomic(written[-1], content)

    for part in report.parts:
        for name, content in study_figures(part).items():
            write(f"figures/{name}", content)
    for section in report.sections:
        for name, content in section.figures.items():
            write(f"figures/{name}", content)
    write("index.html", html_page(report).encode())
    write("report.md", report_markdown(report).encode())
    written.append(folder / "metrics.json")
    write_json(written[-1], {part.study: study_metrics(part.table) for part in report.parts if part.table})
    return written


def study_figures(part: StudyPart) -> dict[str, bytes]:
    """Return a study's figures by file name: its paths, and the plot that it asks for."""
    if part.table is None:
        return {}
    figures = {f"{part.study}.{kind}": content for kind, content in curves_figure(part.table).items()}
    if part.plot is not None:
        drawn = values_figure(part.plot, part.title)
        figures |= {f"{part.study}-values.{kind}": content for kind, content in drawn.items()}
    return figures


def report_markdown(report: Report) -> str:
    """Return report.md: overview, how to read it, each study, exhibits, agreement, provenance, what was not run."""
    parts = [INTRODUCTION, f"## Overview\n\n{overview_markdown(report)}", READING]
    parts += [study_markdown(part) for part in report.parts]
    parts += map(section_markdown, report.sections)
    found = report.tables
    if ours := [table for table in found if not table.results.analogue]:
        parts.append(f"## Agreement with the paper\n\n{agreement_markdown(ours)}")
    if found:
        parts.append(f"## Where the hyper-parameters come from\n\n{provenance_markdown([t.results for t in found])}")
    if report.not_run:
        parts.append(f"## Not run\n\n{not_run_markdown(report.not_run)}")
    return "\n".join(parts)


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
