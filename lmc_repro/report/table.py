"""A study's table as data: every cell of its grid, run or not, with the paper's number beside it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lmc_repro.barriers.curve import SplitName
from lmc_repro.barriers.results import Verdict
from lmc_repro.barriers.verdict import judge_barrier
from lmc_repro.results.schema import Axis, CellRecord, PaperTable, StudyResults

NOT_RUN = "not run"
LEFT_OUT = "left out"
NO_VERDICT = "no verdict"

ORDER: tuple[SplitName, SplitName] = ("test", "train")
"""The splits as the paper's tables have them."""


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

    @property
    def outcome(self) -> str:
        """The verdict on test, or why there is none, in a word or two."""
        if self.cell is None:
            return LEFT_OUT if self.left_out else NOT_RUN
        return self.verdict("test") or NO_VERDICT

    def mean(self, split: SplitName) -> float | None:
        """Our mean barrier in points, None where there is none."""
        return self.cell.summary[split].mean if self.cell else None

    def verdict(self, split: SplitName) -> Verdict | None:
        """Our verdict, None where there is none."""
        return self.cell.summary[split].verdict if self.cell else None

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
    cells = {(cell.row, cell.column): cell for cell in results.cells}
    rows = _axes(results.rows, [row for row, _ in paper])
    columns = _axes(results.columns, [column for _, column in paper])
    grid = {}
    for row in rows:
        for column in columns:
            place = row.key, column.key
            cell = cells.get(place)
            out = cell is None and any(part.covers(*place) for part in results.left_out)
            grid[place] = Entry(row, column, cell, cell.paper if cell else paper.get(place), out)
    rows = tuple(row for row in rows if not all(grid[row.key, column.key].left_out for column in columns))
    columns = tuple(column for column in columns if not all(grid[row.key, column.key].left_out for row in rows))
    return StudyTable(results, rows, columns, tuple(grid[row.key, column.key] for row in rows for column in columns))


def _axes(known: tuple[Axis, ...], keys: list[str]) -> tuple[Axis, ...]:
    labels = {axis.key: axis for axis in known}
    order = dict.fromkeys([*keys, *labels] if set(labels) <= set(keys) else [*labels, *keys])
    return tuple(labels.get(key) or Axis(key, key) for key in order)


def untrained(cell: CellRecord) -> str | None:
    """Return why pairs of a cell have no numbers, in words, or None if all have some."""
    words = ("diverged", "collapsed")
    counts = Counter(next((word for word in words if word in pair.status), "") for pair in cell.pairs)
    found = " and ".join(f"{counts[word]} {word}" for word in words if counts[word])
    return f"of {len(cell.pairs)} pairs {found}" if found else None


def by_seed(values: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    """Return the mean value of each trainer seed, of those that have one: its pairs are dependent."""
    seeds: dict[int, list[float]] = {}
    for seed, value in values:
        if value is not None:
            seeds.setdefault(seed, []).append(value)
    return {seed: statistics.fmean(found) for seed, found in seeds.items()}
