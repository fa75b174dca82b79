"""What a study asks to be drawn beside its paths: a value of each cell along an axis, or over training; as data."""

from __future__ import annotations

from dataclasses import dataclass

from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.report.plot_axes import LINEAR_UP_TO, Scale, axis
from lmc_repro.report.plot_lines import Point, along_axis, over_training
from lmc_repro.report.table import StudyTable

NAMES = {"barrier": "barrier, points", "normalised": "normalised barrier, %"}


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
        groups, names, lines, ticks = over_training(table, show.value)
    else:
        groups, names, lines, ticks = along_axis(table, show.x == "rows", show.value)
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
