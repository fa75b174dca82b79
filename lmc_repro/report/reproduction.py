"""The page that compares ours with the paper: every cell of every study, run or not, disagreements first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.curve import SplitName
from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import Claim
from lmc_repro.report import grid
from lmc_repro.report.agreement import Compared, comparable, compared, findings
from lmc_repro.report.contents import Planned, costs
from lmc_repro.report.details import summary_table
from lmc_repro.report.document import provenance_section, statement_blocks, two_by_two_blocks
from lmc_repro.report.grid import NO_VERDICT, NONE, NOT_RUN, ORDER, StudyTable, points
from lmc_repro.report.model import Block, Cell, Items, Paragraph, Section, Table, Value, flat
from lmc_repro.report.text import markdown
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import CellRecord

MACHINE = "machine.txt"
NOTES = "notes.md"

PAGE = (
    "Every cell under profile paper: ours beside the paper's number where it prints one, then each study with "
    "its parts (n, spread, machine, notes; folded) and what was not run. Hours are predicted, of one core."
)
COUNTED = (
    "Cells with the paper's data set and epochs, each once: of several parts that hold a cell, the one "
    "with most trainer seeds, of equals the one with most cells. Those that were not run are not in it."
)
CELLS = (
    "On test: the mean barrier in points (its range over n trainer seeds), the mean line barrier, flags; bold where "
    "disconnected. Verdicts by Eq. 1. A cell stands once per part; a setting names what the paper does not print."
)


@dataclass(frozen=True)
class Part:
    """Stored results of some cells of a study, made at one time on one machine; `notes` is Markdown.

    `table` has the paper's numbers that the cells carry.
    """

    name: str
    table: StudyTable
    machine: str
    notes: str


@dataclass(frozen=True)
class Study:
    """One study: all cells that there are, and the parts that were run."""

    key: str
    title: str
    question: str
    planned: tuple[Planned, ...]
    parts: tuple[Part, ...]
    notes: str = ""
    claim: Claim | None = None

    @property
    def left(self) -> list[Planned]:
        """The cells that no part holds."""
        done = {(cell.row, cell.column) for part in self.parts for cell in part.table.results.cells}
        return [cell for cell in self.planned if (cell.row, cell.column) not in done]


def number(cell: CellRecord) -> str:
    """Return `mean (range)` of Eq. 1 on test, bold where disconnected, the line barrier, and the flags."""
    summary = cell.summary["test"]
    if summary.mean is None:
        return "diverged or collapsed"
    bold = "**" if summary.verdict == "disconnected" else ""
    unequal = ", unequal ends" if summary.verdict == "unequal ends" else ""
    mean = f"{bold}{points(summary.mean)}{bold} ({grid.spread(summary)})"
    return f"{mean}, line {points(summary.line_mean)}{unequal} {grid.flags(cell)}".strip()


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
        parts.append(Part(place.name, grid.study_table(results), machine, read_text(place / NOTES)))
    return tuple(parts)


def read_text(path: Path) -> str:
    """Return a text file without its outer blank lines; empty where there is none."""
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def reproduction_page(studies: Sequence[Study], notes: str = "") -> str:
    """Return docs/reproduction.md in Markdown; `notes` comes before the studies."""
    tables = [part.table for study in studies for part in study.parts]
    apart = tuple(_disagreements(tables))
    counts = (block for split in ORDER for block in two_by_two_blocks(compared(tables, split), split))
    blocks: list[Block] = [
        Paragraph(PAGE),
        _overview(studies),
        Section("The paper's cells", (Paragraph(CELLS), _printed(studies))),
        Section("Disagreements", (Items(apart) if apart else Paragraph("None among the cells that were run."),)),
        Section("Agreement", (Paragraph(COUNTED), *counts)),
        *([Section("Notes", (Paragraph(notes),))] if notes else []),
        Section("Flags", (Items(tuple(grid.FLAGS.values())),)),
        *map(_section, studies),
        provenance_section([table.results for table in tables]),
    ]
    return markdown(Section("Ours against the paper", tuple(blocks)))


def _overview(studies: Sequence[Study]) -> Table:
    rows = []
    for study in studies:
        left, link = study.left, Cell((study.title,), link=f"#{study.key}")
        hours = f"{sum(cell.hours for cell in left):.0f}" if left else NONE
        run = len(study.planned) - len(left)
        rows.append((link, str(len(study.planned)), str(run or NOT_RUN), str(len(left) or NONE), hours))
    return Table("Studies", ("study", "cells", "run", "not run", "hours of one core for these"), tuple(rows))


def _printed(studies: Sequence[Study]) -> Table:
    """Every cell that was run and that the paper prints a number for, once per setting."""
    rows: list[tuple[Value, ...]] = []
    for study in studies:
        for part in study.parts:
            link = Cell((part.name,), link=f"#{study.key}-{part.name}")
            for entry in part.table.entries:
                if entry.cell is None or entry.paper is None:
                    continue
                verdicts = (entry.verdict("test"), entry.paper_verdict("test", part.table.results.threshold))
                words = tuple(verdict or NO_VERDICT for verdict in verdicts)
                cell = (study.title.partition(":")[0], entry.label, _setting(entry.cell), str(entry.n))
                rows.append((*cell, number(entry.cell), points(entry.paper["test"]), *words, link))
    header = ("exhibit", "cell", "setting", "n", "ours", "paper", "our verdict", "paper's", "part")
    return Table("Ours beside the paper's", header, tuple(sorted(rows, key=lambda row: list(map(flat, row[:3])))))


def _setting(cell: CellRecord) -> str:
    """Return what the paper does not print: width, an initialisation other than torch's default, another precision."""
    model = cell.config["model"]
    width = f"width {model['width']}" if model.get("width") else None
    init = model["init"] if model["init"] != "torch-default" else None
    return ", ".join(filter(None, (width, init, cell.config.get("precision"))))  # recorded unless it is float32


def disagreement(found: Compared, split: SplitName) -> str:
    """Return both verdicts of a cell and the numbers below them."""
    assert found.entry.cell and found.entry.paper
    ends = " by Eq. 1: unequal ends" if found.unequal_ends else ""
    ours, paper = found.entry.cell.summary[split], points(found.entry.paper[split])
    numbers = f"{paper} against {points(ours.mean)}, line {points(ours.line_mean)}, n {found.entry.n}"
    return f"paper {found.paper}, ours {found.ours}{ends} ({numbers})"


def _disagreements(tables: Sequence[StudyTable]) -> Iterator[tuple[str, str]]:
    for split in ORDER:
        for found in compared(tables, split):
            if found.disagrees:
                yield f"{found.name}, {split}", disagreement(found, split)
    for table in tables:
        for entry in table.entries:
            if entry.cell is None or entry.paper is None:
                continue
            if not comparable(entry.cell, table.results):
                yield entry.label, "not counted, other data or epochs than the paper's"
            elif None in (entry.verdict("test"), entry.verdict("train")):
                why = "nothing to lose" if entry.n else grid.untrained(entry.cell)
                yield entry.label, f"{NO_VERDICT} ({why}), neither agreement nor disagreement"


def _section(study: Study) -> Section:
    blocks: list[Block] = [Paragraph(text) for text in (study.question, study.notes) if text]
    for part in study.parts:
        made = Items((*grid.heading(part.table.results), ("machine", part.machine)))
        notes = (Paragraph(part.notes),) if part.notes else ()
        shown: tuple[Block, ...] = (
            *notes,
            summary_table(part.table, compare=True),
            Section("Made with", (made,), folded=True),
        )
        blocks.append(Section(f"Part {part.name}", shown, f"{study.key}-{part.name}", folded=True))
        if (found := [f for f in findings(part.table, study.claim) if f.outcome != NOT_RUN]) and study.claim:
            blocks += statement_blocks(study.claim, found)
    if left := study.left:
        rows = ((c.label, c.model, grid.paper_numbers(c.paper), str(c.runs), *costs(c.flops, c.hours)) for c in left)
        header = ("not run", "network", "paper", "runs", "FLOPs", "hours of one core")
        blocks.append(Table("Cells that were not run", header, tuple(rows)))
    return Section(study.title, tuple(blocks), study.key)
