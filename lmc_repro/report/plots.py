"""What a study asks to be drawn beside its paths: a value of each cell along an axis, or over training; as data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from lmc_repro.barriers.barrier import mean_barrier, normalised
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.status import endpoint_status
from lmc_repro.report.records import CellRecord, StudyResults
from lmc_repro.report.table import Entry, StudyTable

LINEAR_UP_TO = 2.0  # points or percent: the threshold's size; above it the axis is logarithmic if it has to be
_LABELLED = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
NAMES = {"barrier": "barrier, points", "normalised": "normalised barrier, %"}


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


@dataclass(frozen=True)
class Panel:
    """One picture: `title` is what its lines share."""

    title: str
    split: SplitName
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Scale:
    """The upward axis that all panels share, 0 to `top`; logarithmic above LINEAR_UP_TO if `bent`."""

    top: float
    bent: bool
    marks: tuple[float, ...]

    def up(self, value: float) -> float:
        """Return where a value lies, 0 at the bottom and 1 at the top."""
        return self._bend(max(value, 0.0)) / self._bend(self.top)

    def _bend(self, value: float) -> float:
        if not self.bent or value <= LINEAR_UP_TO:
            return value / LINEAR_UP_TO
        return 1.0 + math.log(value / LINEAR_UP_TO)  # joins the straight part without a corner


@dataclass(frozen=True)
class ValuePlot:
    """A plot of panels: test above train, groups of lines across. `ticks` are (x, label)."""

    value: str
    x_label: str
    y_label: str
    ticks: tuple[tuple[float, str], ...]
    groups: tuple[str, ...]
    panels: dict[SplitName, tuple[Panel, ...]]
    scale: Scale
    threshold: float | None
    over_training: bool

    @property
    def width(self) -> tuple[float, float]:
        """The ends of the axis across."""
        xs = [x for x, _ in self.ticks]
        room = 0.04 * (xs[-1] - xs[0]) if self.over_training else 0.35
        return xs[0] - room, xs[-1] + room


def value_plot(table: StudyTable) -> ValuePlot | None:
    """Return what the study asks for, or None where it asks for nothing or has no value to show."""
    show = table.results.show
    if show is None:
        return None
    if show.x == "epochs":
        groups, names, lines, ticks = _over_training(table, show.value)
    else:
        groups, names, lines, ticks = _along_axis(table, show.x == "rows", show.value)
    panels: dict[SplitName, tuple[Panel, ...]] = {}
    for split in reversed(SPLITS):
        found: dict[str, list[Series]] = {}
        for group, name, line in zip(groups, names, lines, strict=True):
            found.setdefault(group, []).append(Series(name, line(split)))
        panels[split] = tuple(Panel(group, split, tuple(series)) for group, series in found.items())
    highest = [
        value
        for part in panels.values()
        for panel in part
        for series in panel.series
        for p in series.points
        for value in p.seeds
    ]
    if not highest or len(ticks) < 1:
        return None
    judged = show.value == "barrier"
    scale = axis(max(highest), table.results.threshold if judged else None)
    return ValuePlot(
        value=show.value,
        x_label=show.x_label,
        y_label=NAMES[show.value] + (f" (logarithmic above {LINEAR_UP_TO:g})" if scale.bent else ""),
        ticks=ticks,
        groups=tuple(dict.fromkeys(groups)),
        panels=panels,
        scale=scale,
        threshold=table.results.threshold if judged else None,
        over_training=show.x == "epochs",
    )


def axis(highest: float, threshold: float | None) -> Scale:
    """Return the axis that holds `highest`, and the threshold where there is one."""
    top = 1.08 * max(highest, threshold or 0.0, 0.05)
    if top > 5 * LINEAR_UP_TO:
        marks = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
        return Scale(top, True, tuple(mark for mark in marks if mark <= top))
    step = next((step for step in _STEPS if top <= 6 * step), _STEPS[-1])
    return Scale(top, False, tuple(round(i * step, 6) for i in range(int(top / step) + 1)))


Line = Callable[[SplitName], tuple[Point, ...]]
Lines = tuple[list[str], list[str], list[Line], tuple[tuple[float, str], ...]]
"""Group, name and points of each line, and the ticks across."""


def _along_axis(table: StudyTable, rows: bool, value: str) -> Lines:
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


def _over_training(table: StudyTable, value: str) -> Lines:
    """Return a line a cell over its marks; its column is the panel, its row the line."""
    run = [(e, e.cell) for e in table.entries if e.cell is not None]
    keys = {cell.key for _, cell in run}
    marks = told_apart(sorted({epoch for cell, _, epoch, _ in table.results.curves if cell in keys}))
    lines: list[Line] = [partial(_history, table.results, cell, marks, value=value) for _, cell in run]
    return [e.column.label for e, _ in run], [e.row.label for e, _ in run], lines, epoch_ticks(marks)


def epoch_x(epoch: float) -> float:
    """Return where an epoch lies across: early training is wide, and epoch 0 has its place."""
    return math.log((epoch + 0.5) / 0.5)


def told_apart(marks: Sequence[float]) -> list[float]:
    """Return the marks without those that lie too near to the last one to be told from it."""
    return [mark for mark in marks if mark == marks[-1] or epoch_x(marks[-1]) - epoch_x(mark) > 0.25]


def epoch_ticks(marks: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Return round epochs among the marks, both ends included, far enough apart to be read."""
    if not marks:
        return ()
    found = [marks[0]]
    for mark in marks[1:]:
        if mark in _LABELLED and epoch_x(marks[-1]) - epoch_x(mark) > 0.3:
            found.append(mark)
    found += [marks[-1]] if len(marks) > 1 else []
    return tuple((epoch_x(mark), f"{mark:g}") for mark in found)


def _history(
    results: StudyResults, cell: CellRecord, marks: Iterable[float], split: SplitName, value: str
) -> tuple[Point, ...]:
    found = []
    for mark in marks:
        pairs = {}
        for pair in cell.pairs:
            if (cell.key, pair.pair, mark, split) in results.curves:
                lost = mark == pair.epoch and pair.barriers[split] is None
                number = None if lost else _at_mark(results, cell, pair.pair, mark, split, value)
                pairs[pair.pair] = (pair.trainer_seed, number)
        if pairs:
            found.append(Point(epoch_x(mark), _by_seed(pairs.values()), f"epoch {mark:g}"))
    return tuple(found)


def _at_mark(
    results: StudyResults, cell: CellRecord, pair: str, mark: float, split: SplitName, value: str
) -> float | None:
    """Return a pair's barrier at a mark, from its curves; None unless both ends are trained there."""
    train, test = (results.curves[cell.key, pair, mark, name] for name in SPLITS)
    classes = next(d.classes for d in results.datasets if d.name == cell.config["data"]["dataset"])
    for end in (0, -1):
        diverged = 0 if None in (train.loss[end], test.loss[end]) else None
        if endpoint_status(mark, diverged, train.errors[end], classes, results.min_train_accuracy) != "trained":
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
