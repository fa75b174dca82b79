"""The page that holds ours against the paper: every cell of every study, run or not, disagreements first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.curve import SplitName
from lmc_repro.errors import LmcError
from lmc_repro.models.names import network
from lmc_repro.report.agreement import Compared, comparable, compared
from lmc_repro.report.markdown import (
    ORDER,
    STATEMENTS,
    legend_markdown,
    markdown_table,
    provenance_markdown,
    statement_row,
    two_by_two_markdown,
)
from lmc_repro.report.planned import Planned, hours_text
from lmc_repro.report.sentences import statements_show
from lmc_repro.report.statements import findings
from lmc_repro.report.table import Entry, StudyTable, mean_error, study_table, untrained
from lmc_repro.report.words import (
    NO_VERDICT,
    NONE,
    NOT_RUN,
    flags,
    heading,
    init,
    line_means,
    means,
    paper_numbers,
    points,
    spreads,
    verdict,
)
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import StudyResults
from lmc_repro.schemas.claim import Claim

MACHINE = "machine.txt"
NOTES = "notes.md"


@dataclass(frozen=True)
class Part:
    """Stored results of some cells of a study, made at one time on one machine; `notes` is Markdown."""

    name: str
    results: StudyResults
    machine: str
    notes: str

    @property
    def table(self) -> StudyTable:
        """Its cells, with the paper's numbers that they carry."""
        return study_table(self.results)


@dataclass(frozen=True)
class Section:
    """One study: all cells that there are, and the parts that were run."""

    study: str
    title: str
    question: str
    planned: tuple[Planned, ...]
    parts: tuple[Part, ...]
    notes: str = ""
    claim: Claim | None = None

    @property
    def done(self) -> set[tuple[str, str]]:
        """The (row, column) of every cell that some part holds."""
        return {(cell.row, cell.column) for part in self.parts for cell in part.results.cells}


def read_parts(folder: Path) -> tuple[Part, ...]:
    """Return the parts below folder/<part>/, in the order of their names; LmcError for an analogue's results."""
    parts = []
    for place in sorted(path for path in folder.glob("*") if path.is_dir() and has_results(path)):
        results = read_study(place)
        if results.analogue:
            raise LmcError(
                f"{place}: profile {results.profile} is an analogue on other data; keep results of profile paper there"
            )
        if not (machine := read_text(place / MACHINE)):
            raise LmcError(f"{place / MACHINE}: missing or empty; write the machine there in words, with its device")
        parts.append(Part(place.name, results, machine, read_text(place / NOTES)))
    return tuple(parts)


def read_text(path: Path) -> str:
    """Return a text file without its outer blank lines; empty where there is none."""
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def reproduction_page(sections: Sequence[Section], notes: str = "") -> str:
    """Return docs/reproduction.md in Markdown; `notes` comes before the studies."""
    tables = [part.table for section in sections for part in section.parts]
    counted = {split: compared(tables, split) for split in ORDER}
    parts = [
        "# Ours against the paper\n",
        "Every cell of every study under profile paper: what was run, with n, spread and machine, beside the paper's "
        "number where it prints one; what was not run, with its cost. Hours are predicted, of one core.\n",
        _overview(sections),
        f"## Disagreements\n\n{_disagreements(tables)}",
        "## Agreement\n\nCells with the paper's data set and epochs, each once: of several parts that hold a cell, the "
        "one with most trainer seeds. Those that were not run are not in it.\n",
        *(two_by_two_markdown(counted[split], split) for split in ORDER),
        *([f"## Notes\n\n{notes}\n"] if notes else []),
        f"Flags:\n\n{legend_markdown()}",
        *(_section(section) for section in sections),
        f"## Where the hyper-parameters come from\n\n{provenance_markdown([table.results for table in tables])}",
    ]
    return "\n".join(parts)


def _overview(sections: Sequence[Section]) -> str:
    rows = []
    for section in sections:
        left = [cell for cell in section.planned if (cell.row, cell.column) not in section.done]
        hours = f"{sum(cell.hours for cell in left):.0f}" if left else NONE
        run = len(section.planned) - len(left)
        link = f"[{section.title}](#{section.study})"
        rows.append([link, len(section.planned), run or "not run", len(left) or NONE, hours])
    return markdown_table(["study", "cells", "run", "not run", "hours of one core for these"], rows)


def _disagreements(tables: Sequence[StudyTable]) -> str:
    lines = []
    for split in ORDER:
        for found in compared(tables, split):
            if found.disagrees:
                ends = " by Eq. 1: unequal ends" if found.unequal_ends else ""
                verdicts = f"paper {found.paper}, ours {found.ours}{ends}"
                lines.append(f"- {found.name}, {split}: {verdicts} ({_numbers(found, split)})\n")
    for table in tables:
        for entry in table.entries:
            if entry.cell is None or entry.paper is None:
                continue
            if not comparable(entry.cell, table.results):
                lines.append(f"- {entry.label}: not counted, other data or epochs than the paper's\n")
            elif None in (entry.verdict("test"), entry.verdict("train")):
                why = "nothing to lose" if entry.n else untrained(entry.cell)
                lines.append(f"- {entry.label}: {NO_VERDICT} ({why}), neither agreement nor disagreement\n")
    return "".join(lines) or "None among the cells that were run.\n"


def _numbers(found: Compared, split: SplitName) -> str:
    assert found.entry.cell is not None and found.entry.paper is not None
    ours = found.entry.cell.summary[split]
    paper = points(found.entry.paper[split])
    return f"{paper} against {points(ours.mean)}, line {points(ours.line_mean)}, n {found.entry.n}"


def _section(section: Section) -> str:
    parts = [f'<a id="{section.study}"></a>\n\n## {section.title}\n', f"{section.question}\n"]
    if section.notes:
        parts.append(f"{section.notes}\n")
    for part in section.parts:
        parts.append(_part(part, alone=len(section.parts) == 1))
        if (found := [f for f in findings(part.table, section.claim) if f.outcome != NOT_RUN]) and section.claim:
            parts.append(f"{statements_show(section.claim, found)}\n")
            parts.append(markdown_table(STATEMENTS, map(statement_row, found)))
    left = [cell for cell in section.planned if (cell.row, cell.column) not in section.done]
    if left:
        rows = [
            [cell.label, cell.model, _paper(cell.paper), cell.runs, f"{cell.flops:.1e}", hours_text(cell.hours)]
            for cell in left
        ]
        header = ["not run", "network", "paper", "runs", "FLOPs", "hours of one core"]
        parts.append(f"{markdown_table(header, rows)}")
    return "\n".join(parts)


def _part(part: Part, alone: bool) -> str:
    made = "".join(f"- {name}: {value}\n" for name, value in [*heading(part.results), ("machine", part.machine)])
    title = "" if alone else f"### Part {part.name}\n\n"
    notes = f"{part.notes}\n\n" if part.notes else ""
    return (
        f"{title}{notes}Mean barrier (Eq. 1) and line barrier in points, test / train; "
        "range and sd over n trainer seeds.\n\n"
        # The attribute is for the documentation's site; a forge reads Markdown there without it.
        f'{_cells(part.table)}\n<details markdown="1"><summary>Made with</summary>\n\n{made}\n</details>\n'
    )


def _cells(table: StudyTable) -> str:
    header = ["cell", "ours", "line", "range", "sd", "n", "our verdict", "flags", "paper", "paper's verdict",
              "normalised %", "error of the ends", "network"]  # fmt: skip
    return markdown_table(header, [_row(entry, table) for entry in table.entries if entry.cell is not None])


def _row(entry: Entry, table: StudyTable) -> list[str]:
    cell = entry.cell
    assert cell is not None
    theirs = {split: entry.paper_verdict(split, table.results.threshold) for split in ORDER}
    judged = " / ".join(dict.fromkeys(str(theirs[split]) for split in ORDER)) if entry.paper else NONE
    reason = untrained(cell)
    return [
        entry.label,
        means(cell),
        line_means(cell),
        spreads(cell),
        " / ".join(points(cell.summary[split].sd) for split in ORDER),
        str(entry.n),
        verdict(cell) + (f" ({reason})" if reason else ""),
        flags(cell) or NONE,
        paper_numbers(entry),
        judged,
        " / ".join(points(cell.summary[split].normalised_mean) for split in ORDER),
        " / ".join(points(mean_error(cell, split)) for split in ORDER),
        f"{network(cell.config['model'])}, {init(cell)}",
    ]


def _paper(paper: dict[str, float] | None) -> str:
    return NONE if paper is None else f"{points(paper['test'])} / {points(paper['train'])}"
