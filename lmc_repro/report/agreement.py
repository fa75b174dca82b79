"""Ours against the paper: verdicts counted by Eq. 1, never boiled down to one percentage, and its ordered statements.

Only cells that are comparable count. A statement has an effect, n, and a number of trainer seeds in favour.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SplitName
from lmc_repro.barriers.results import Verdict
from lmc_repro.barriers.verdict import judge_barrier
from lmc_repro.common.words import counted
from lmc_repro.config.exhibit import Claim, Statement
from lmc_repro.config.own_code import short_name
from lmc_repro.report.grid import NO_VERDICT, NOT_RUN, ORDER, Entry, StudyTable, by_seed, points
from lmc_repro.results.schema import CellRecord, StudyResults

PAPER_EPOCHS = 200  # paper, Section 2

VERDICTS: tuple[Verdict, Verdict] = ("disconnected", "connected")
JUDGED = (*VERDICTS, NO_VERDICT, NOT_RUN)

NOT_COUNTED = "An analogue: it counts no agreement with the paper."
NOTHING_COUNTED = "No cell has the paper's data set and epochs: no agreement is counted."

OUTCOMES = ("holds", "does not hold", "seen here", "not seen here", "not decided", NO_VERDICT, NOT_RUN)
"""Outcomes of a statement, in the order of a sentence."""

VALUES = {"barrier": ("B", "points"), "normalised": ("N", "%"), "gap": ("A", "%")}
"""Symbol and unit of what a statement is about."""


@dataclass(frozen=True)
class Compared:
    """A cell that the paper prints a number for, with both verdicts of one split by Eq. 1; `ours` is one of JUDGED.

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
    def weight(self) -> tuple[bool, int, int]:
        """Of several in one place, the heaviest counts."""
        return self.entry.cell is not None, self.entry.n, len(self.table.results.cells)

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
    trainer seeds; of equals the one in the largest table, so that a whole table is of one setting, then the first.
    """
    best: dict[tuple[str, str, str], Compared] = {}
    seen: set[frozenset[str]] = set()
    for table in tables:
        threshold = table.results.threshold
        for entry in () if table.results.analogue else table.entries:
            paper, ours, cell = entry.paper_verdict(split, threshold), NOT_RUN, entry.cell
            if paper is None:
                continue
            if cell is not None:
                if not comparable(cell, table.results) or cell.fingerprints in seen:
                    continue
                seen.add(cell.fingerprints)
                mean = entry.mean(split) if entry.verdict(split) else None
                ours = NO_VERDICT if mean is None else judge_barrier(mean, threshold)
            place = table.results.study, entry.row.key, entry.column.key
            found = Compared(table, entry, paper, ours, entry.verdict(split) == "unequal ends")
            if place not in best or found.weight > best[place].weight:
                best[place] = found
    return list(best.values())


def two_by_two(cells: Sequence[Compared]) -> dict[Verdict, dict[str, int]]:
    """Return counts by the paper's verdict, then by ours (JUDGED)."""
    counts = Counter((cell.paper, cell.ours) for cell in cells)
    return {paper: {ours: counts[paper, ours] for ours in JUDGED} for paper in VERDICTS}


def unequal_ends(cells: Sequence[Compared]) -> str:
    """Return the cells that are unequal ends, as a sentence; empty where there are none."""
    names = "; ".join(cell.name for cell in cells if cell.unequal_ends)
    return f"Unequal ends, disconnected by Eq. 1 alone: {names}." if names else ""


def log_distance(ours: float | None, paper: float) -> float | None:
    """Return |log10((ours + 0.1) / (paper + 0.1))| of two barriers in points; 1 is a factor of ten."""
    return None if ours is None else abs(math.log10((ours + 0.1) / (paper + 0.1)))


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
                parts.append(f"of {counted(total, 'cell')} {paper} in the paper ours are {found}")
        if parts:
            said += [f"Agreement with the paper on {split}: {'; '.join(parts)}.", unequal_ends(cells)]
    return " ".join(filter(None, said)) or NOTHING_COUNTED


@dataclass(frozen=True)
class Finding:
    """One statement on one set of cells.

    `cells` names them as this profile does; `effect` is in words, `difference` (greater only) in points or percent.
    `in_favour` of `n` trainer seeds, cell by cell where the statement is about each. `counted`: all cells are the
    paper's own data and length, so that it says something about the paper; `holds` is None where nothing can be said.
    `unequal_ends`: it rests on cells of that verdict, which `effect` names.
    """

    study: str
    text: str
    cells: str
    effect: str
    difference: float | None
    n: int
    in_favour: int
    holds: bool | None
    counted: bool
    missing: bool
    unequal_ends: bool

    @property
    def outcome(self) -> str:
        """The outcome in a word or two; only counted statements hold or do not hold."""
        if self.holds is None:
            return NOT_RUN if self.missing else "not decided" if self.unequal_ends else NO_VERDICT
        if self.counted:
            return "holds" if self.holds else "does not hold"
        return "seen here" if self.holds else "not seen here"


def findings(table: StudyTable, claim: Claim | None) -> tuple[Finding, ...]:
    """Return a claim's statements, each for every row or column that it names and the profile has."""
    statements = claim.statements if claim else ()
    return tuple(_find(table, statement, *place) for statement in statements for place in _places(table, statement))


def tally(found: Iterable[Finding]) -> str:
    """Return how the statements came out: `5 hold, 1 not run`; empty where there are none."""
    several = {"holds": "hold", "does not hold": "do not hold"}
    counts = Counter(finding.outcome for finding in found)
    said = ((counts[word], word) for word in OUTCOMES if counts[word])
    return ", ".join(f"{count} {word if count == 1 else several.get(word, word)}" for count, word in said)


def seed_values(cell: CellRecord, of: str) -> dict[int, float]:
    """Return a value of a cell by trainer seed: points (barrier) or percent (normalised, gap), on test.

    Dependent pairs of one seed are averaged; pairs whose ends are not trained have none.
    """

    def value(test: Barriers | None, train: Barriers | None) -> float | None:
        if test is None or train is None:
            return None
        if of != "gap":
            return test.barrier if of == "barrier" else test.normalised
        both = test.normalised, train.normalised
        return None if both[0] is None or both[1] is None else abs(both[0] - both[1])

    return by_seed((pair.trainer_seed, value(pair.barriers["test"], pair.barriers["train"])) for pair in cell.pairs)


def _places(table: StudyTable, statement: Statement) -> Iterator[tuple[str, Sequence[Entry | None]]]:
    """Yield cells by their labels under this profile, and the cells; None is one that the study does not have."""
    if statement.connected == "every":
        yield "every cell", [entry for entry in table.entries if not entry.left_out]
        return
    entries = {(entry.row.key, entry.column.key): entry for entry in table.entries}
    axes = (table.rows, table.columns) if statement.columns else (table.columns, table.rows)
    along, across = ({axis.key: axis.label for axis in axis} for axis in axes)
    named = statement.greater or statement.increasing or statement.connected or ()
    names = [along.get(key, key) for key in named]
    sign = " > " if statement.greater else " < "
    said = f"{VALUES[statement.of][0]}: {sign.join(names)}" if statement.connected is None else ", ".join(names)
    for other in statement.columns or statement.rows or ():
        places = [(key, other) if statement.columns else (other, key) for key in named]
        lacking = [place for place in places if place not in entries or entries[place].cell is None]
        if not any(part.covers(*place) for part in table.results.left_out for place in lacking):
            yield f"{said}; {across.get(other, other)}", [entries.get(place) for place in places]


def _find(table: StudyTable, statement: Statement, named: str, entries: Sequence[Entry | None]) -> Finding:
    cells = [entry.cell for entry in entries if entry is not None and entry.cell is not None]
    unequal = [cell for cell in cells if cell.summary["test"].verdict == "unequal ends"]
    if statement.connected is not None:
        holds, effect, difference, n, favour = _connected(table, cells, len(entries))
    else:
        values = [seed_values(cell, statement.of) for cell in cells]
        # `greater` names the larger one first.
        holds, effect, difference, n, favour = _ordered(
            values[::-1] if statement.greater else values, VALUES[statement.of][1], bool(statement.greater)
        )
        if unequal:
            holds = None  # its Eq. 1 is no hill: neither order says anything about connectivity
    if unequal:
        names = "; ".join(f"{cell.row_label}, {cell.column_label}" for cell in unequal)
        effect = f"{effect}; unequal ends: {names}".removeprefix("; ")
    missing, study = len(cells) < len(entries), table.results.study
    holds = None if holds and missing else holds
    counted = not table.results.analogue and all(comparable(cell, table.results) for cell in cells)
    about = (study, statement.text, named, effect, difference)
    return Finding(*about, n, favour, holds, counted, missing, bool(unequal))


Found = tuple[bool | None, str, float | None, int, int]
"""holds, effect, difference, n, seeds in favour."""


def _ordered(values: Sequence[dict[int, float]], unit: str, two: bool) -> Found:
    """Judge that the means grow from one cell to the next; cells without a value are passed over."""
    there = [seeds for seeds in values if seeds]
    if len(there) < 2:
        return None, "", None, 0, 0
    means = [statistics.fmean(seeds.values()) for seeds in there]
    shared = sorted(set.intersection(*(set(seeds) for seeds in there)))
    favour = sum(all(a[seed] < b[seed] for a, b in pairwise(there)) for seed in shared)
    grows: bool | None = all(a < b for a, b in pairwise(means))
    if grows and len(there) < len(values):
        grows = None  # an end is not trained: what there is does not speak against it
    if not two:
        chain = "".join(f" {'<' if a < b else '>='} {points(b)}" for a, b in pairwise(means))
        return grows, f"{points(means[0])}{chain} {unit}", None, len(shared), favour
    effect = f"{means[1] - means[0]:+.2f} {unit}"
    if len(shared) > 1:
        apart = [there[1][seed] - there[0][seed] for seed in shared]
        effect += f" ({min(apart):+.2f} to {max(apart):+.2f})"
    return grows, effect, means[1] - means[0], len(shared), favour


def _connected(table: StudyTable, cells: Sequence[CellRecord], wanted: int) -> Found:
    """Judge that every cell is connected on test; n counts the trainer seeds of all of them."""
    summaries = [cell.summary["test"] for cell in cells]
    verdicts = [summary.verdict for summary in summaries]
    values = [value for summary in summaries for value in summary.values]
    means = [summary.mean for summary in summaries if summary.mean is not None]
    if not means:
        return None, "", None, 0, 0
    holds = False if "disconnected" in verdicts else None if {None, "unequal ends"} & set(verdicts) else True
    effect = f"{points(means[0])} points"
    if wanted > 1:
        effect = f"{verdicts.count('connected')} of {wanted} cells connected, largest {points(max(means))} points"
    return holds, effect, None, len(values), sum(value < table.results.threshold for value in values)
