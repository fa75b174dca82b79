"""A study's table as data: every cell of its grid, run or not, with the paper's number beside it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import Verdict
from lmc_repro.barriers.verdict import judge_barrier
from lmc_repro.results.schema import Axis, CellRecord, PaperTable, StudyResults


@dataclass(frozen=True)
class Entry:
    """One place of the grid. `cell` is None where it was not run; `paper` in points, None where nothing is printed.

    `left_out`: the profile has no such cell, for a reason that the study gives once.
    """

    row: Axis
    column: Axis
    cell: CellRecord | None
    paper: Mapping[str, float] | None
    left_out: bool = False

    @property
    def label(self) -> str:
        """The cell's name for people."""
        return f"{self.row.label}, {self.column.label}"

    @property
    def n(self) -> int:
        """Trainer seeds with a barrier: pairs whose endpoints are not trained have none."""
        return len(self.cell.summary["test"].values) if self.cell else 0

    def verdict(self, split: SplitName) -> Verdict | None:
        """Our verdict, None where there is none."""
        return self.cell.summary[split].verdict if self.cell else None

    def by_barrier(self, split: SplitName, threshold: float) -> Verdict | None:
        """What our mean comes to by the paper's rule, Eq. 1 alone; None where there is no verdict."""
        mean = self.cell.summary[split].mean if self.cell and self.verdict(split) else None
        return None if mean is None else judge_barrier(mean, threshold)

    def paper_verdict(self, split: SplitName, threshold: float) -> Verdict | None:
        """What the paper's number comes to under the same threshold."""
        return judge_barrier(self.paper[split], threshold) if self.paper else None


@dataclass(frozen=True)
class StudyTable:
    """The grid of a study, row by row."""

    results: StudyResults
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    entries: tuple[Entry, ...]

    @property
    def with_paper(self) -> bool:
        """Whether the paper prints any number of this grid."""
        return any(entry.paper is not None for entry in self.entries)

    def line(self, row: Axis) -> tuple[Entry, ...]:
        """The entries of one row, in the order of the columns."""
        return tuple(entry for entry in self.entries if entry.row == row)


def study_table(results: StudyResults, paper: PaperTable | None = None) -> StudyTable:
    """Return the grid of a study.

    `paper`, where given, also fills the paper's numbers of cells that were not run, and adds rows and columns that
    the results do not have. Rows and columns that the profile leaves out are none of the grid.
    """
    paper = paper or {}
    out = results.left_out
    rows = _axes(results.rows, [row for row, _ in paper])
    columns = _axes(results.columns, [column for _, column in paper])
    cells = {(cell.row, cell.column): cell for cell in results.cells}

    def missing(row: Axis, column: Axis) -> bool:
        return (row.key, column.key) not in cells and any(part.covers(row.key, column.key) for part in out)

    rows, columns = (
        tuple(row for row in rows if not all(missing(row, column) for column in columns)),
        tuple(column for column in columns if not all(missing(row, column) for row in rows)),
    )
    entries = []
    for row in rows:
        for column in columns:
            place = (row.key, column.key)
            cell = cells.get(place)
            number = cell.paper if cell else paper.get(place)
            entries.append(Entry(row, column, cell, number, missing(row, column)))
    return StudyTable(results, rows, columns, tuple(entries))


def _axes(known: tuple[Axis, ...], keys: list[str]) -> tuple[Axis, ...]:
    labels = {axis.key: axis for axis in known}
    order = dict.fromkeys([*keys, *labels]) if set(labels) <= set(keys) else dict.fromkeys([*labels, *keys])
    return tuple(labels.get(key) or Axis(key, key) for key in order)


def untrained(cell: CellRecord) -> str | None:
    """Return why pairs of a cell have no numbers, in words, or None if all have some."""
    diverged = sum("diverged" in pair.status for pair in cell.pairs)
    collapsed = sum("collapsed" in pair.status and "diverged" not in pair.status for pair in cell.pairs)
    counts = {"diverged": diverged, "collapsed": collapsed}
    found = " and ".join(f"{n} {word}" for word, n in counts.items() if n)
    return f"of {len(cell.pairs)} pairs {found}" if found else None


def mean_error(cell: CellRecord, split: SplitName) -> float:
    """Return the mean error of all endpoints in points, collapsed ones too."""
    return statistics.fmean(error for pair in cell.pairs for error in pair.errors[split])


def mean_floor(cell: CellRecord, split: SplitName) -> float | None:
    """Return the mean over pairs of half the difference of the ends (points): Eq. 1 cannot be lower."""
    floors = [found.floor for pair in cell.pairs if (found := pair.barriers[split]) is not None]
    return statistics.fmean(floors) if floors else None


def same_for_splits(values: dict[SplitName, str]) -> str:
    """Return the one value if the splits share it, else both: `test a, train b`."""
    if len(set(values.values())) == 1:
        return values["test"]
    return ", ".join(f"{split} {values[split]}" for split in reversed(SPLITS))
