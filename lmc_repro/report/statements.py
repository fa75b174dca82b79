"""The paper's ordered statements, held to our cells: effect, n, and how many trainer seeds are in favour."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SplitName
from lmc_repro.config.exhibit import Claim, Statement
from lmc_repro.report.agreement import comparable
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.words import NO_VERDICT, NOT_RUN, points
from lmc_repro.results.schema import CellRecord

Outcome = Literal["holds", "does not hold", "seen here", "not seen here", "not decided", "no verdict", "not run"]
Seeds = dict[int, float]

SYMBOLS = {"barrier": "B", "normalised": "N", "gap": "A"}
UNITS = {"barrier": "points", "normalised": "%", "gap": "%"}
SPLIT: SplitName = "test"


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
    def outcome(self) -> Outcome:
        """What came out, in a word or two; only what is counted holds or does not hold."""
        if self.holds is None:
            return "not run" if self.missing else "not decided" if self.unequal_ends else "no verdict"
        if self.counted:
            return "holds" if self.holds else "does not hold"
        return "seen here" if self.holds else "not seen here"


def findings(table: StudyTable, claim: Claim | None) -> list[Finding]:
    """Return a claim's statements, each for every row or column that it names and the profile has."""
    found = []
    for statement in claim.statements if claim else ():
        for where, entries in _places(table, statement):
            if not any(entry is not None and entry.left_out for entry in entries):
                found.append(_find(table, statement, where, entries))
    return found


def tally(found: Iterable[Finding]) -> str:
    """Return how the statements came out: `5 hold, 1 not run`; empty where there are none."""
    several = {"holds": "hold", "does not hold": "do not hold"}
    counts = Counter[str](finding.outcome for finding in found)
    order = ("holds", "does not hold", "seen here", "not seen here", "not decided", NO_VERDICT, NOT_RUN)
    return ", ".join(
        f"{counts[word]} {word if counts[word] == 1 else several.get(word, word)}" for word in order if counts[word]
    )


def seed_values(cell: CellRecord, of: str) -> Seeds:
    """Return a value of a cell by trainer seed: points (barrier) or percent (normalised, gap), on test.

    Dependent pairs of one seed are averaged; pairs whose ends are not trained have none.
    """
    values: dict[int, list[float]] = {}
    for pair in cell.pairs:
        test, train = pair.barriers["test"], pair.barriers["train"]
        if test is not None and train is not None and (value := _value(test, train, of)) is not None:
            values.setdefault(pair.trainer_seed, []).append(value)
    return {seed: statistics.fmean(found) for seed, found in values.items()}


def _value(test: Barriers, train: Barriers, of: str) -> float | None:
    if of == "barrier":
        return test.barrier
    if of == "normalised":
        return test.normalised
    return None if test.normalised is None or train.normalised is None else abs(test.normalised - train.normalised)


def _places(table: StudyTable, statement: Statement) -> list[tuple[str, list[Entry | None]]]:
    """Return (label of the other axis, cells) of a statement; None is a cell that the study does not have."""
    entries = {(entry.row.key, entry.column.key): entry for entry in table.entries}
    left = {axis.key: axis for axis in (*table.rows, *table.columns)}
    if statement.connected == "every":
        return [("", [entry for entry in table.entries if not entry.left_out])]
    named = statement.greater or statement.increasing or statement.connected or ()
    found = []
    for other in statement.columns or statement.rows or ():
        keys = [(key, other) if statement.columns else (other, key) for key in named]
        if any(part.covers(*place) for part in table.results.left_out for place in keys if place not in entries):
            continue
        label = left[other].label if other in left else other
        found.append((label, [entries.get(place) for place in keys]))
    return found


def _find(table: StudyTable, statement: Statement, where: str, entries: Sequence[Entry | None]) -> Finding:
    cells = [entry.cell for entry in entries if entry is not None and entry.cell is not None]
    missing = len(cells) < len(entries)
    unequal = [cell for cell in cells if cell.summary[SPLIT].verdict == "unequal ends"]
    if statement.connected is not None:
        holds, effect, difference, n, favour = _connected(table, cells, len(entries))
    else:
        values = [seed_values(cell, statement.of) for cell in cells]
        # `greater` names the larger one first.
        holds, effect, difference, n, favour = _ordered(
            values[::-1] if statement.greater else values, UNITS[statement.of], bool(statement.greater)
        )
        if unequal:
            holds = None  # its Eq. 1 is no hill: neither order says anything about connectivity
    if unequal:
        names = "; ".join(f"{cell.row_label}, {cell.column_label}" for cell in unequal)
        effect = f"{effect}; unequal ends: {names}".removeprefix("; ")
    if holds and missing:
        holds = None
    return Finding(
        study=table.results.study,
        text=statement.text,
        cells=_named(table, statement, where),
        effect=effect,
        difference=difference,
        n=n,
        in_favour=favour,
        holds=holds,
        counted=not table.results.analogue and all(comparable(cell, table.results) for cell in cells),
        missing=missing,
        unequal_ends=bool(unequal),
    )


Found = tuple[bool | None, str, float | None, int, int]
"""holds, effect, difference, n, seeds in favour."""


def _ordered(values: Sequence[Seeds], unit: str, two: bool) -> Found:
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
        signs = ["<" if a < b else ">=" for a, b in pairwise(means)]
        chain = points(means[0]) + "".join(f" {s} {points(m)}" for s, m in zip(signs, means[1:], strict=True))
        return grows, f"{chain} {unit}", None, len(shared), favour
    effect = f"{means[1] - means[0]:+.2f} {unit}"
    if len(shared) > 1:
        apart = [there[1][seed] - there[0][seed] for seed in shared]
        effect += f" ({min(apart):+.2f} to {max(apart):+.2f})"
    return grows, effect, means[1] - means[0], len(shared), favour


def _connected(table: StudyTable, cells: Sequence[CellRecord], wanted: int) -> Found:
    """Judge that every cell is connected on test; n counts the trainer seeds of all of them."""
    verdicts = [cell.summary[SPLIT].verdict for cell in cells]
    values = [value for cell in cells for value in cell.summary[SPLIT].values]
    favour = sum(value < table.results.threshold for value in values)
    means = [mean for cell in cells if (mean := cell.summary[SPLIT].mean) is not None]
    if not means:
        return None, "", None, 0, 0
    holds = False if "disconnected" in verdicts else None if {None, "unequal ends"} & set(verdicts) else True
    if wanted == 1:
        return holds, f"{points(means[0])} points", None, len(values), favour
    effect = f"{verdicts.count('connected')} of {wanted} cells connected, largest {points(max(means))} points"
    return holds, effect, None, len(values), favour


def _named(table: StudyTable, statement: Statement, where: str) -> str:
    """Return the cells by their labels under this profile."""
    labels = {axis.key: axis.label for axis in (table.rows if statement.columns else table.columns)}
    if statement.connected == "every":
        return "every cell"
    keys = statement.greater or statement.increasing or statement.connected or ()
    names = [labels.get(key, key) for key in keys]
    if statement.connected is not None:
        return f"{', '.join(names)}; {where}"
    symbol, sign = SYMBOLS[statement.of], " > " if statement.greater else " < "
    return f"{symbol}: {sign.join(names)}; {where}"
