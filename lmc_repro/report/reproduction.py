"""The page that holds ours against the paper: every cell of every study, run or not, disagreements first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.curve import SplitName
from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import Claim
from lmc_repro.report.agreement import Compared, comparable, compared
from lmc_repro.report.cells import compared_table
from lmc_repro.report.document import provenance_section, statements_show, statements_table, two_by_two_blocks
from lmc_repro.report.model import Block, Cell, Items, Paragraph, Table
from lmc_repro.report.model import Section as Document
from lmc_repro.report.planned import Planned, costs
from lmc_repro.report.statements import findings
from lmc_repro.report.table import StudyTable, study_table, untrained
from lmc_repro.report.text import markdown
from lmc_repro.report.words import FLAGS, NO_VERDICT, NONE, NOT_RUN, ORDER, heading, paper_numbers, points
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import StudyResults

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

    @property
    def left(self) -> list[Planned]:
        """The cells that no part holds."""
        return [cell for cell in self.planned if (cell.row, cell.column) not in self.done]


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
    blocks: list[Block] = [
        Paragraph(
            "Every cell of every study under profile paper: what was run, with n, spread and machine, beside the "
            "paper's number where it prints one; what was not run, with its cost. Hours are predicted, of one core."
        ),
        _overview(sections),
        Document("Disagreements", (_disagreements(tables),)),
        Document(
            "Agreement",
            (
                Paragraph(
                    "Cells with the paper's data set and epochs, each once: of several parts that hold a cell, the one "
                    "with most trainer seeds. Those that were not run are not in it."
                ),
                *(block for split in ORDER for block in two_by_two_blocks(compared(tables, split), split)),
            ),
        ),
        *([Document("Notes", (Paragraph(notes),))] if notes else []),
        Document("Flags", (Items(tuple(FLAGS.values())),)),
        *map(_section, sections),
        provenance_section([table.results for table in tables]),
    ]
    return markdown(Document("Ours against the paper", tuple(blocks)))


def _overview(sections: Sequence[Section]) -> Table:
    rows = []
    for section in sections:
        left, count = section.left, len(section.planned)
        hours = f"{sum(cell.hours for cell in left):.0f}" if left else NONE
        run = count - len(left)
        link = Cell((section.title,), link=f"#{section.study}")
        rows.append((link, str(count), str(run or NOT_RUN), str(len(left) or NONE), hours))
    return Table("Studies", ("study", "cells", "run", "not run", "hours of one core for these"), tuple(rows))


def _disagreements(tables: Sequence[StudyTable]) -> Block:
    lines = []
    for split in ORDER:
        for found in compared(tables, split):
            if found.disagrees:
                ends = " by Eq. 1: unequal ends" if found.unequal_ends else ""
                verdicts = f"paper {found.paper}, ours {found.ours}{ends}"
                lines.append((f"{found.name}, {split}", f"{verdicts} ({_numbers(found, split)})"))
    for table in tables:
        for entry in table.entries:
            if entry.cell is None or entry.paper is None:
                continue
            if not comparable(entry.cell, table.results):
                lines.append((entry.label, "not counted, other data or epochs than the paper's"))
            elif None in (entry.verdict("test"), entry.verdict("train")):
                why = "nothing to lose" if entry.n else untrained(entry.cell)
                lines.append((entry.label, f"{NO_VERDICT} ({why}), neither agreement nor disagreement"))
    return Items(tuple(lines)) if lines else Paragraph("None among the cells that were run.")


def _numbers(found: Compared, split: SplitName) -> str:
    assert found.entry.cell is not None and found.entry.paper is not None
    ours = found.entry.cell.summary[split]
    paper = points(found.entry.paper[split])
    return f"{paper} against {points(ours.mean)}, line {points(ours.line_mean)}, n {found.entry.n}"


def _section(section: Section) -> Document:
    blocks: list[Block] = [Paragraph(text) for text in (section.question, section.notes) if text]
    for part in section.parts:
        shown = _part(part)
        blocks += [Document(f"Part {part.name}", tuple(shown))] if len(section.parts) > 1 else shown
        if (found := [f for f in findings(part.table, section.claim) if f.outcome != NOT_RUN]) and section.claim:
            blocks += [Paragraph(statements_show(section.claim, found)), statements_table(found)]
    if section.left:
        rows = tuple(
            (c.label, c.model, paper_numbers(c.paper), str(c.runs), *costs(c.flops, c.hours)) for c in section.left
        )
        header = ("not run", "network", "paper", "runs", "FLOPs", "hours of one core")
        blocks.append(Table("Cells that were not run", header, rows))
    return Document(section.title, tuple(blocks), section.study)


def _part(part: Part) -> list[Block]:
    made = Items((*heading(part.results), ("machine", part.machine)))
    notes = [Paragraph(part.notes)] if part.notes else []
    return [*notes, compared_table(part.table), Document("Made with", (made,), folded=True)]
