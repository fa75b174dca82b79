"""The plot that a study asks for beside its paths: a value of each cell along an axis or over training, as data."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from lmc_repro.barriers.barrier import mean_barrier, normalised
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.status import endpoint_status
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.results.schema import CellRecord, PairRecord, StudyResults

Y_LABELS = {"barrier": "barrier, points", "normalised": "normalised barrier, %"}


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


@dataclass(frozen=True)
class Series:
    """A line: cells from left to right; only those that were run."""

    label: str
    points: tuple[Point, ...]

    @property
    def parts(self) -> list[list[Point]]:
        """The parts of the line between points without a verdict, which are never connected."""
        parts: list[list[Point]] = [[]]
        for point in self.points:
            if point.seeds:
                parts[-1].append(point)
            else:
                parts.append([])
        return [part for part in parts if part]


@dataclass(frozen=True)
class Panel:
    """One picture: `title` is what its lines share."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class ValuePlot:
    """A plot of panels of both splits, groups of lines across. `ticks` are (x, label); `highest` the largest value."""

    value: str
    x_label: str
    ticks: tuple[tuple[float, str], ...]
    panels: dict[SplitName, tuple[Panel, ...]]
    highest: float
    threshold: float | None
    over_training: bool


Line = tuple[str, Callable[[SplitName], tuple[Point, ...]]]
Ticks = tuple[tuple[float, str], ...]


def value_plot(table: StudyTable) -> ValuePlot | None:
    """Return what the study asks for, or None where it asks for nothing or has no value to show."""
    show = table.results.show
    if show is None:
        return None
    over_training = show.x == "epochs"
    groups, lines, ticks = (
        _over_training(table, show.value) if over_training else _along(table, show.x == "rows", show.value)
    )
    panels: dict[SplitName, tuple[Panel, ...]] = {}
    for split in reversed(SPLITS):
        found: dict[str, list[Series]] = {}
        for group, (name, points) in zip(groups, lines, strict=True):
            found.setdefault(group, []).append(Series(name, points(split)))
        panels[split] = tuple(Panel(group, tuple(series)) for group, series in found.items())
    drawn = [point for part in panels.values() for panel in part for line in panel.series for point in line.points]
    highest = max((value for point in drawn for value in point.seeds), default=None)
    if highest is None:
        return None
    threshold = table.results.threshold if show.value == "barrier" else None
    return ValuePlot(show.value, show.x_label, ticks, panels, highest, threshold, over_training)


def _along(table: StudyTable, rows: bool, value: str) -> tuple[list[str], list[Line], Ticks]:
    """Return lines from row to row (or column to column), one for each entry of the other axis that was run."""
    along, across = (table.rows, table.columns) if rows else (table.columns, table.rows)
    entries = {(e.row.key, e.column.key): e for e in table.entries}
    run = [a for a in along if any(e.cell for e in table.entries if a in (e.row, e.column))]
    names = shortened([a.label for a in run])
    lines: list[Line] = []
    for other in across:
        there = [entries[(a.key, other.key) if rows else (other.key, a.key)] for a in run]
        if any(entry.cell for entry in there):
            lines.append((other.label, partial(_cells, there, names, value=value)))
    groups, labels = grouped([name for name, _ in lines])
    lines = [(label, points) for label, (_, points) in zip(labels, lines, strict=True)]
    return groups, lines, tuple((float(i), name) for i, name in enumerate(names))


def _cells(entries: Sequence[Entry], names: Sequence[str], split: SplitName, value: str) -> tuple[Point, ...]:
    found = []
    for x, entry in enumerate(entries):
        if entry.cell is not None:
            pairs = []
            for pair in entry.cell.pairs:
                barriers = pair.barriers[split]
                number = None if barriers is None else barriers.barrier if value == "barrier" else barriers.normalised
                pairs.append((pair.trainer_seed, number))
            found.append(Point(float(x), _by_seed(pairs), names[x]))
    return tuple(found)


def _over_training(table: StudyTable, value: str) -> tuple[list[str], list[Line], Ticks]:
    """Return a line per cell over its evaluation epochs; its column is the panel, its row the line."""
    run = [(e, e.cell) for e in table.entries if e.cell is not None]
    keys = {cell.key for _, cell in run}
    epochs = sorted({epoch for cell, _, epoch, _ in table.results.curves if cell in keys})
    lines: list[Line] = [(e.row.label, partial(_history, table.results, cell, epochs, value=value)) for e, cell in run]
    return [e.column.label for e, _ in run], lines, epoch_ticks(epochs)


def _history(
    results: StudyResults, cell: CellRecord, epochs: Iterable[float], split: SplitName, value: str
) -> tuple[Point, ...]:
    found = []
    for epoch in epochs:
        pairs = []
        for pair in cell.pairs:
            if (cell.key, pair.pair, epoch, split) in results.curves:
                lost = epoch == pair.epoch and pair.barriers[split] is None
                number = None if lost else _at_epoch(results, cell, pair, epoch, split, value)
                pairs.append((pair.trainer_seed, number))
        if pairs:
            found.append(Point(epoch, _by_seed(pairs), f"epoch {epoch:g}"))
    return tuple(found)


def _at_epoch(
    results: StudyResults, cell: CellRecord, pair: PairRecord, epoch: float, split: SplitName, value: str
) -> float | None:
    """Return a pair's barrier at an epoch, from its curves; None unless both ends are trained there."""
    train, test = (results.curves[cell.key, pair.pair, epoch, name] for name in SPLITS)
    for end in (0, -1):
        diverged = 0 if None in (train.loss[end], test.loss[end]) else None
        if endpoint_status(epoch, diverged, train.wrong[end], train.n, pair.largest_class) != "trained":
            return None
    curve = train if split == "train" else test
    points = mean_barrier(curve.wrong) * 100.0 / curve.n
    if value == "barrier":
        return points
    return normalised(points, 1.0 - (test.errors[0] + test.errors[-1]) / 2)


def _by_seed(pairs: Iterable[tuple[int, float | None]]) -> tuple[float, ...]:
    """Return one value per trainer seed: dependent pairs of a seed are averaged."""
    seeds: dict[int, list[float]] = {}
    for seed, number in pairs:
        if number is not None:
            seeds.setdefault(seed, []).append(number)
    return tuple(statistics.fmean(found) for found in seeds.values())


def epoch_ticks(epochs: Sequence[float]) -> Ticks:
    """Return round epochs among those given, both ends included, far enough apart to be read."""
    round_ones = {0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
    first, last = epochs[0], epochs[-1]
    found = dict.fromkeys([first, *(e for e in epochs if e in round_ones and e < 0.75 * last), last])
    return tuple((epoch, f"{epoch:g}") for epoch in found)


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
