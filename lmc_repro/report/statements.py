"""The paper's ordered statements, held to our cells: effect, n, and how many trainer seeds are in favour."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.config.exhibit import Claim, Statement
from lmc_repro.report.agreement import comparable
from lmc_repro.report.table import NO_VERDICT, NOT_RUN, Entry, StudyTable, by_seed
from lmc_repro.report.words import points
from lmc_repro.results.schema import CellRecord

OUTCOMES = ("holds", "does not hold", "seen here", "not seen here", "not decided", NO_VERDICT, NOT_RUN)
"""What comes out of a statement, in the order of a sentence."""

VALUES = {"barrier": ("B", "points"), "normalised": ("N", "%"), "gap": ("A", "%")}
"""Symbol and unit of what a statement is about."""


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
        """What came out, in a word or two; only what is counted holds or does not hold."""
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
    return by_seed(
        (pair.trainer_seed, _value(pair.barriers["test"], pair.barriers["train"], of)) for pair in cell.pairs
    )


def _value(test: Barriers | None, train: Barriers | None, of: str) -> float | None:
    if test is None or train is None:
        return None
    if of == "barrier":
        return test.barrier
    if of == "normalised" or test.normalised is None:
        return test.normalised
    return None if train.normalised is None else abs(test.normalised - train.normalised)


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
