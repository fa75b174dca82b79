"""Ours against the paper: counted by Eq. 1 over cells that are comparable, never boiled down to one percentage."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmc_repro.barriers.curve import SplitName
from lmc_repro.barriers.results import Verdict
from lmc_repro.config.own_code import short_name
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.words import NO_VERDICT, NOT_RUN, ORDER, cells_text
from lmc_repro.results.schema import CellRecord, StudyResults

PAPER_EPOCHS = 200  # paper, Section 2

VERDICTS: tuple[Verdict, Verdict] = ("disconnected", "connected")
OUTCOMES = (*VERDICTS, NO_VERDICT, NOT_RUN)
OUTCOME_HEADINGS = ("ours disconnected", "ours connected", NO_VERDICT, NOT_RUN)

NOT_COUNTED = "An analogue: it counts no agreement with the paper."
NOTHING_COUNTED = "No cell has the paper's data set and epochs: no agreement is counted."
OTHER = "not counted (other data or epochs than the paper's, or the same runs counted before)"


@dataclass(frozen=True)
class Compared:
    """A cell that the paper prints a number for, with both verdicts of one split by Eq. 1; `ours` is one of OUTCOMES.

    `unequal_ends`: our own verdict is that, so that Eq. 1 is high without a hill.
    """

    table: StudyTable
    entry: Entry
    paper: Verdict
    ours: str
    unequal_ends: bool

    @property
    def name(self) -> str:
        """The cell's name among those of other studies."""
        return f"{self.table.results.title.split(':')[0]}, {self.entry.label}"

    @property
    def disagrees(self) -> bool:
        """Whether both have a verdict and the verdicts differ; no verdict is neither agreement nor disagreement."""
        return self.ours in VERDICTS and self.ours != self.paper


def comparable(cell: CellRecord, results: StudyResults) -> bool:
    """Return whether a cell has the paper's data set, the one that the study itself names, and the paper's length.

    Where the study names none, what it ran on is its own.
    """
    own = results.own_dataset(cell.row, cell.column)
    return own in (None, short_name(cell.config["data"]["dataset"])) and bool(cell.config["epochs"] == PAPER_EPOCHS)


def compared(tables: Iterable[StudyTable], split: SplitName) -> list[Compared]:
    """Return the cells to count; none of an analogue, and none on other data or epochs.

    Each set of runs counts once, and of a cell that was run in several ways, as with other widths, the one with most
    trainer seeds (the first of equals).
    """
    found: list[Compared] = []
    seen: set[frozenset[str]] = set()
    for table in tables:
        if table.results.analogue:
            continue
        for entry in table.entries:
            paper = entry.paper_verdict(split, table.results.threshold)
            if paper is None:
                continue
            ours = NOT_RUN
            if entry.cell is not None:
                if not comparable(entry.cell, table.results) or entry.cell.fingerprints in seen:
                    continue
                seen.add(entry.cell.fingerprints)
                ours = entry.by_barrier(split, table.results.threshold) or NO_VERDICT
            found.append(Compared(table, entry, paper, ours, entry.verdict(split) == "unequal ends"))
    best: dict[tuple[str, str, str], Compared] = {}
    for one in found:
        place = (one.table.results.study, one.entry.row.key, one.entry.column.key)
        if place not in best or _weight(one.entry) > _weight(best[place].entry):
            best[place] = one
    return list(best.values())


def _weight(entry: Entry) -> tuple[bool, int]:
    return entry.cell is not None, entry.n


def two_by_two(cells: Sequence[Compared]) -> dict[Verdict, dict[str, int]]:
    """Return counts by the paper's verdict, then by ours (OUTCOMES)."""
    counts = Counter((cell.paper, cell.ours) for cell in cells)
    return {paper: {ours: counts[paper, ours] for ours in OUTCOMES} for paper in VERDICTS}


def unequal_ends(cells: Sequence[Compared]) -> str:
    """Return the cells that are unequal ends, as a sentence; empty where there are none."""
    names = "; ".join(cell.name for cell in cells if cell.unequal_ends)
    return f"Unequal ends, disconnected by Eq. 1 alone: {names}." if names else ""


def log_distance(ours: float, paper: float) -> float:
    """Return |log10((ours + 0.1) / (paper + 0.1))|: how far apart two barriers (points) are; 1 is a factor of ten."""
    return abs(math.log10((ours + 0.1) / (paper + 0.1)))


def entry_distance(entry: Entry, split: SplitName) -> float | None:
    """Return the log distance of an entry's mean barrier to the paper's, None where either is missing."""
    mean = entry.cell.summary[split].mean if entry.cell else None
    return None if mean is None or entry.paper is None else log_distance(mean, entry.paper[split])


def agrees(table: StudyTable) -> str:
    """Return whether a study's verdicts are the paper's: counts by the paper's verdict, never one percentage."""
    if table.results.analogue:
        return NOT_COUNTED
    if not table.with_paper:
        return "The paper prints no number for it: no agreement is counted."
    said = []
    for split in ORDER:
        cells = compared([table], split)
        parts = []
        for paper, ours in two_by_two(cells).items():
            if total := sum(ours.values()):
                found = ", ".join(f"{count} {name}" for name, count in ours.items() if count)
                parts.append(f"of {cells_text(total)} {paper} in the paper ours are {found}")
        if parts:
            said += [f"Agreement with the paper on {split}: {'; '.join(parts)}.", unequal_ends(cells)]
    return " ".join(filter(None, said)) or NOTHING_COUNTED


def cell_agrees(entry: Entry, table: StudyTable) -> str:
    """Return whether one cell's verdicts are the paper's, both splits."""
    if table.results.analogue:
        return NOT_COUNTED
    if entry.paper is None:
        return "The paper prints no number for this cell: no agreement is counted."
    parts = []
    for split in ORDER:
        found = [c for c in compared([table], split) if c.entry is entry]
        parts.append(f"{split}: {_judged(found[0]) if found else OTHER}")
    return f"Agreement with the paper, {'; '.join(parts)}."


def _judged(found: Compared) -> str:
    verdicts = f"paper {found.paper}, ours {found.ours}"
    if found.ours not in VERDICTS:
        return f"{verdicts} (neither agreement nor disagreement)"
    ends = "; unequal ends" if found.unequal_ends else ""
    return f"{verdicts} ({'disagrees' if found.disagrees else 'agrees'}{ends})"
