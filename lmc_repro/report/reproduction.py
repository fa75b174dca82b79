"""The page that holds ours against the paper: every number it prints, run or not, disagreements first."""

from __future__ import annotations

from collections.abc import Mapping

from lmc_repro.barriers.curve import SplitName
from lmc_repro.errors import LmcError
from lmc_repro.report.agreement import Compared, comparable, compared
from lmc_repro.report.markdown import (
    ORDER,
    agreement_markdown,
    legend_markdown,
    markdown_table,
    provenance_markdown,
)
from lmc_repro.report.records import PaperTable, StudyResults
from lmc_repro.report.table import Entry, StudyTable, mean_error, study_table, untrained
from lmc_repro.report.words import (
    NO_VERDICT,
    NONE,
    NOT_RUN,
    PAPER,
    flags,
    heading,
    init,
    means,
    paper_numbers,
    points,
    spreads,
    verdict,
)


def reproduction_page(
    results: StudyResults, paper: PaperTable, machine: str, notes: str = "", seconds: Mapping[str, float] | None = None
) -> str:
    """Return docs/reproduction.md for one study, in Markdown.

    `paper` names every cell of the paper's table, printed or not; `machine` is said in words; `notes` is Markdown;
    `seconds` gives the training time of a run by cell key. LmcError for an analogue, whose numbers say nothing about
    the paper's.
    """
    if results.analogue:
        raise LmcError(
            f"profile {results.profile} is an analogue on other data; make this page from results of profile paper"
        )
    table = study_table(results, paper)
    run = [entry for entry in table.entries if entry.cell is not None]
    made = "".join(f"- {name}: {value}\n" for name, value in [*heading(results), ("machine", machine)])
    parts = [
        f"# Ours against the paper: {results.title}\n",
        f"{len(run)} of {len(table.entries)} cells were run. "
        f"One threshold, {results.threshold:g} points, judges ours and the paper's numbers.\n",
        f"## Disagreements\n\n{_disagreements(table)}",
        "## Cells\n\nMean barrier in points, test / train; range and sd over n trainer seeds.\n\n"
        f"{_cells(table, seconds or {})}",
        f"Flags:\n\n{legend_markdown()}",
        f"## Agreement\n\n{agreement_markdown([table])}",
        f"## Made with\n\n{made}",
        f"## Where the hyper-parameters come from\n\n{provenance_markdown([results])}",
    ]
    if notes.strip():
        parts.insert(3, f"## Notes\n\n{notes.strip()}\n")
    return "\n".join(parts)


def _disagreements(table: StudyTable) -> str:
    lines = []
    for split in ORDER:
        for found in compared([table], split):
            if found.disagrees:
                verdicts = f"paper {found.paper}, ours {found.ours}"
                lines.append(f"- {found.entry.label}, {split}: {verdicts} ({_numbers(found, split)})\n")
    for entry in table.entries:
        if entry.cell is not None and entry.paper is not None:
            if not comparable(entry.cell):
                lines.append(f"- {entry.label}: not counted, other data or epochs than the paper's\n")
            elif entry.n == 0:
                why = untrained(entry.cell)
                lines.append(f"- {entry.label}: {NO_VERDICT} ({why}), neither agreement nor disagreement\n")
    return "".join(lines) or "None among the cells that were run.\n"


def _numbers(found: Compared, split: SplitName) -> str:
    assert found.entry.cell is not None and found.entry.paper is not None
    ours = found.entry.cell.summary[split]
    return f"{points(found.entry.paper[split])} against {points(ours.mean)}, n {found.entry.n}"


def _cells(table: StudyTable, seconds: Mapping[str, float]) -> str:
    header = ["cell", "ours", "range", "sd", "n", "our verdict", "flags", PAPER, "paper's verdict", "error of the ends",
              "width", "init"]  # fmt: skip
    rows = [_row(entry, table.results.threshold) for entry in table.entries]
    if seconds:
        header.append("seconds a run")
        for entry, row in zip(table.entries, rows, strict=True):
            took = seconds.get(entry.cell.key) if entry.cell else None
            row.append(NONE if took is None else f"{took:.0f}")
    return markdown_table(header, rows)


def _row(entry: Entry, threshold: float) -> list[str]:
    theirs = {split: entry.paper_verdict(split, threshold) for split in ORDER}
    judged = " / ".join(dict.fromkeys(str(theirs[split]) for split in ORDER)) if entry.paper else NONE
    cell = entry.cell
    if cell is None:
        return [entry.label, NOT_RUN, *[NONE] * 5, paper_numbers(entry), judged, *[NONE] * 3]
    reason = untrained(cell)
    ours = verdict(cell) + (f" ({reason})" if reason else "")
    return [
        entry.label,
        means(cell),
        spreads(cell),
        " / ".join(points(cell.summary[split].sd) for split in ORDER),
        str(entry.n),
        ours,
        flags(cell) or NONE,
        paper_numbers(entry),
        judged,
        " / ".join(points(mean_error(cell, split)) for split in ORDER),
        str(cell.config["model"].get("width") or NONE),
        init(cell),
    ]
