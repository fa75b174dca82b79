"""The lines of a plot of values: a value of each cell along an axis, or of each mark over training."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from lmc_repro.barriers.barrier import mean_barrier, normalised
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.status import endpoint_status
from lmc_repro.report.plot_axes import epoch_ticks, epoch_x, told_apart
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.results.schema import CellRecord, PairRecord, StudyResults


@dataclass(frozen=True)
class Point:
    """A cell (or a cell at an epoch), `name` where it stands: its values over trainer seeds; none is no verdict."""

    x: float
    seeds: tuple[float, ...]
    name: str

    @property
    def mean(self) -> float:
        """The mean over trainer seeds."""
        return statistics.fmean(self.seeds)


Line = Callable[[SplitName], tuple[Point, ...]]
Lines = tuple[list[str], list[str], list[Line], tuple[tuple[float, str], ...]]
"""Group, name and points of each line, and the ticks across."""


def along_axis(table: StudyTable, rows: bool, value: str) -> Lines:
    """Return lines from row to row (or column to column), one for each entry of the other axis that was run."""
    along, across = (table.rows, table.columns) if rows else (table.columns, table.rows)
    entries = {(e.row.key, e.column.key): e for e in table.entries}
    run = [a for a in along if any(e.cell for e in table.entries if a in (e.row, e.column))]
    names = shortened([a.label for a in run])
    lines: list[Line] = []
    kept = []
    for other in across:
        places = [(a.key, other.key) if rows else (other.key, a.key) for a in run]
        there = [entries[place] for place in places]
        if any(entry.cell for entry in there):
            kept.append(other.label)
            lines.append(partial(_cells, there, names, value=value))
    groups, labels = grouped(kept)
    return groups, labels, lines, tuple((float(i), name) for i, name in enumerate(names))


def _cells(entries: Sequence[Entry], names: Sequence[str], split: SplitName, value: str) -> tuple[Point, ...]:
    found = []
    for x, entry in enumerate(entries):
        if entry.cell is not None:
            pairs = {}
            for pair in entry.cell.pairs:
                barriers = pair.barriers[split]
                number = None if barriers is None else barriers.barrier if value == "barrier" else barriers.normalised
                pairs[pair.pair] = (pair.trainer_seed, number)
            found.append(Point(float(x), _by_seed(pairs.values()), names[x]))
    return tuple(found)


def over_training(table: StudyTable, value: str) -> Lines:
    """Return a line a cell over its marks; its column is the panel, its row the line."""
    run = [(e, e.cell) for e in table.entries if e.cell is not None]
    keys = {cell.key for _, cell in run}
    marks = told_apart(sorted({epoch for cell, _, epoch, _ in table.results.curves if cell in keys}))
    lines: list[Line] = [partial(_history, table.results, cell, marks, value=value) for _, cell in run]
    return [e.column.label for e, _ in run], [e.row.label for e, _ in run], lines, epoch_ticks(marks)


def _history(
    results: StudyResults, cell: CellRecord, marks: Iterable[float], split: SplitName, value: str
) -> tuple[Point, ...]:
    found = []
    for mark in marks:
        pairs = {}
        for pair in cell.pairs:
            if (cell.key, pair.pair, mark, split) in results.curves:
                lost = mark == pair.epoch and pair.barriers[split] is None
                number = None if lost else _at_mark(results, cell, pair, mark, split, value)
                pairs[pair.pair] = (pair.trainer_seed, number)
        if pairs:
            found.append(Point(epoch_x(mark), _by_seed(pairs.values()), f"epoch {mark:g}"))
    return tuple(found)


def _at_mark(
    results: StudyResults, cell: CellRecord, pair: PairRecord, mark: float, split: SplitName, value: str
) -> float | None:
    """Return a pair's barrier at a mark, from its curves; None unless both ends are trained there."""
    train, test = (results.curves[cell.key, pair.pair, mark, name] for name in SPLITS)
    for end in (0, -1):
        diverged = 0 if None in (train.loss[end], test.loss[end]) else None
        if endpoint_status(mark, diverged, train.wrong[end], train.n, pair.largest_class) != "trained":
            return None
    curve = train if split == "train" else test
    points = mean_barrier(curve.wrong) * 100.0 / curve.n
    if value == "barrier":
        return points
    return normalised(points, 1.0 - (test.errors[0] + test.errors[-1]) / 2)


def _by_seed(pairs: Iterable[tuple[int, float | None]]) -> tuple[float, ...]:
    """Return one value a trainer seed: dependent pairs of a seed are averaged."""
    seeds: dict[int, list[float]] = {}
    for seed, number in pairs:
        if number is not None:
            seeds.setdefault(seed, []).append(number)
    return tuple(statistics.fmean(found) for found in seeds.values())


def shortened(labels: Sequence[str]) -> list[str]:
    """Return labels without the first word that all of them share: `slope 0.8` becomes `0.8`."""
    first = {label.partition(" ")[0] for label in labels}
    rests = [label.partition(" ")[2] for label in labels]
    return rests if len(labels) > 1 and len(first) == 1 and all(rests) else list(labels)


def grouped(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (group, name) of labels such as `4-Layer, SGD high`; one group where that parts nothing."""
    parts = [label.partition(", ") for label in labels]
    groups = [first for first, _, _ in parts]
    if all(rest for _, _, rest in parts) and len(set(groups)) < len(labels):
        return groups, [rest for _, _, rest in parts]
    return [""] * len(labels), list(labels)
