"""The plot that a study requests beside its paths: a value of each cell along an axis or over training, as data."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.pair import judge_epoch
from lmc_repro.report.grid import ORDER, StudyTable, by_seed
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
    """A line of one split in a panel: cells from left to right; only those that were run."""

    split: SplitName
    panel: str
    label: str
    points: tuple[Point, ...]

    @property
    def parts(self) -> list[list[Point]]:
        """The parts of the line between points without a verdict, which are never connected."""
        return [list(part) for there, part in groupby(self.points, key=lambda point: bool(point.seeds)) if there]


@dataclass(frozen=True)
class ValuePlot:
    """A plot of both splits, test first, panel by panel. `ticks` are (x, label); `highest` is the largest value."""

    value: str
    x_label: str
    ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    highest: float
    threshold: float | None
    over_training: bool


Line = tuple[str, str, list[tuple[float, str, CellRecord, float | None]]]
"""The panel of a line, its label, and of each point x, name, cell and the epoch that it shows (None: the last one)."""


def value_plot(table: StudyTable) -> ValuePlot | None:
    """Return the plot that the study requests, or None where it requests none or has no value to show."""
    results, show = table.results, table.results.show
    if show is None:
        return None
    over_training = show.x == "epochs"
    lines, ticks = _over_training(table) if over_training else _along(table, show.x == "rows")
    panels = list(dict.fromkeys(panel for panel, _, _ in lines))
    series = []
    for split in ORDER:
        for panel, label, places in sorted(lines, key=lambda line: panels.index(line[0])):
            points = []
            for x, name, cell, epoch in places:
                measured = [
                    (pair.trainer_seed, _barriers(results, cell, pair, epoch).get(split)) for pair in cell.pairs
                ]
                seeds = by_seed((seed, getattr(barriers, show.value, None)) for seed, barriers in measured)
                points.append(Point(x, tuple(seeds.values()), name))
            series.append(Series(split, panel, label, tuple(points)))
    highest = max((value for line in series for point in line.points for value in point.seeds), default=None)
    if highest is None:
        return None
    threshold = results.threshold if show.value == "barrier" else None
    return ValuePlot(show.value, show.x_label, ticks, tuple(series), highest, threshold, over_training)


def _along(table: StudyTable, rows: bool) -> tuple[list[Line], tuple[tuple[float, str], ...]]:
    """Return lines from row to row (or column to column), one for each entry of the other axis that was run."""
    along, across = (table.rows, table.columns) if rows else (table.columns, table.rows)
    cells = {(e.row.key, e.column.key) if rows else (e.column.key, e.row.key): e.cell for e in table.entries}
    run = [a for a in along if any(cells[a.key, other.key] for other in across)]
    names = shortened([a.label for a in run])
    others = [other for other in across if any(cells[a.key, other.key] for a in run)]
    lines: list[Line] = []
    for panel, label, other in zip(*grouped([other.label for other in others]), others, strict=True):
        there = ((float(x), names[x], cells[a.key, other.key]) for x, a in enumerate(run))
        lines.append((panel, label, [(x, name, cell, None) for x, name, cell in there if cell is not None]))
    return lines, tuple(enumerate(names))


def _over_training(table: StudyTable) -> tuple[list[Line], tuple[tuple[float, str], ...]]:
    """Return a line per cell over its evaluation epochs; its column is the panel, its row the line."""
    run = [(e.column.label, e.row.label, e.cell) for e in table.entries if e.cell is not None]
    found: dict[str, set[float]] = {cell.key: set() for _, _, cell in run}
    for key, _, epoch, _ in table.results.curves:
        if key in found:
            found[key].add(epoch)
    lines: list[Line] = []
    for panel, label, cell in run:
        lines.append((panel, label, [(epoch, f"epoch {epoch:g}", cell, epoch) for epoch in sorted(found[cell.key])]))
    return lines, epoch_ticks(sorted(set().union(*found.values())))


def _barriers(
    results: StudyResults, cell: CellRecord, pair: PairRecord, epoch: float | None
) -> Mapping[SplitName, Barriers | None]:
    """Return a pair's barriers at an epoch, before the last one from its curves; none unless both ends are trained."""
    if epoch in (None, pair.epoch):
        return pair.barriers
    keys = {split: (cell.key, pair.pair, epoch, split) for split in SPLITS}
    if epoch is None or not results.curves.keys() >= set(keys.values()):
        return {}
    curves = {split: results.curves[key] for split, key in keys.items()}
    first, last = (0 if any(curve.loss[end] is None for curve in curves.values()) else None for end in (0, -1))
    return judge_epoch(epoch, curves, (first, last), 1, pair.largest_class).barriers or {}


def epoch_ticks(epochs: Sequence[float]) -> tuple[tuple[float, str], ...]:
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
