"""The figure of one pair: the error along the straight line, the chord between its ends, and the barrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lmc_repro.barriers.pair import PairTask
from lmc_repro.barriers.results import PairResult
from lmc_repro.drawing import LINES, drawing_style, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    from lmc_repro.barriers.barrier import Barriers
    from lmc_repro.barriers.curve import Curve, SplitName

_DPI = 100


def path_figure(result: PairResult, title: str) -> dict[str, bytes]:
    """Return {"path.svg": bytes}: a pair at its last epoch.

    Error in percent over alpha, test solid and train dashed, the chords between the ends dotted; an upright line from
    the mean of the ends to the maximum is the barrier of Eq. 1 (paper, Section 2). A pair with an endpoint that is
    not trained has curves and no barrier: the figure says so. Equal results and titles give equal bytes.
    """
    mark = result.final
    note = "" if mark.barriers is not None else f"no barrier: endpoints {' and '.join(mark.status)}"
    # One kind: hundreds are drawn, and a browser shows this one at any size.
    images = curves_figure(mark.curves, mark.barriers, f"{title}, epoch {mark.epoch}\n{note}", ("svg",))
    return {f"path.{kind}": content for kind, content in images.items()}


def curves_figure(
    curves: Mapping[SplitName, Curve],
    found: Mapping[SplitName, Barriers] | None,
    title: str,
    kinds: Sequence[str] = ("png", "svg"),
) -> dict[str, bytes]:
    """Return bytes by kind: the same of one split or both, with their barriers if there are any."""
    with drawing_style():
        drawing = _drawing()
        top = 0.0
        for split, lines in drawing.splits.items():
            lines.set_visible(split in curves)
            if split in curves:
                top = max(top, lines.show(split, curves[split], found[split] if found is not None else None))
        drawing.axes.set_ylim(0.0, 1.08 * top if top > 0.0 else 1.0)
        drawing.title.set_text(title)
        return render(drawing.figure, _DPI, kinds)


@dataclass(frozen=True)
class _Lines:
    """What is drawn of one split."""

    path: Line2D
    chord: Line2D
    barrier: Line2D
    sample: Line2D
    name: Text

    def set_visible(self, visible: bool) -> None:
        """Show all of it, or nothing."""
        for artist in (self.path, self.chord, self.barrier, self.sample, self.name):
            artist.set_visible(visible)

    def show(self, split: SplitName, curve: Curve, found: Barriers | None) -> float:
        """Move the lines to a curve; return its largest error in percent."""
        percent = [100.0 * wrong / curve.n for wrong in curve.wrong]
        top = max(range(len(percent)), key=percent.__getitem__)
        ends = (percent[0] + percent[-1]) / 2
        self.path.set_data(curve.alphas, percent)
        self.chord.set_data((0.0, 1.0), (percent[0], percent[-1]))
        self.name.set_text(split)
        self.barrier.set_visible(found is not None)
        if found is not None:
            at = curve.alphas[top] + (0.006 if split == "test" else -0.006)  # beside one another, not over
            self.barrier.set_data((at, at), (ends, percent[top]))
            self.name.set_text(f"{split}, barrier {found.barrier:.2f}")
        return percent[top]


@dataclass(frozen=True)
class _Drawing:
    figure: Figure
    axes: Axes
    title: Text
    splits: dict[SplitName, _Lines]


@cache
def _drawing() -> _Drawing:
    """Return the figure that all pairs of a process share: making axes costs more than moving their lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2))
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.79)
    axes = figure.add_subplot()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("alpha, from theta_0 to theta_1")
    axes.set_ylabel("error, %")
    title = figure.text(0.02, 0.975, "", fontsize=8.0, verticalalignment="top")
    places: tuple[tuple[SplitName, float], ...] = (("train", 0.55), ("test", 0.12))
    splits = {}
    for split, left in places:
        style = LINES[split]
        (path,) = axes.plot([], [], marker="o", markersize=2.5, **style)
        (chord,) = axes.plot([], [], color=style["color"], linestyle=":", linewidth=0.8)
        (barrier,) = axes.plot([], [], color=style["color"], marker="_", markersize=5.0, linewidth=0.7)
        place = ((left, left + 0.07), (0.84, 0.84))
        (sample,) = axes.plot(*place, transform=figure.transFigure, clip_on=False, **style)
        name = figure.text(left + 0.085, 0.826, "", fontsize=7.5)
        splits[split] = _Lines(path, chord, barrier, sample, name)
    return _Drawing(figure, axes, title, splits)


@dataclass(frozen=True)
class DrawnTask:
    """A pair to measure, and the title of its figure; None: draw none."""

    task: PairTask
    title: str | None


def measure_and_draw(drawn: DrawnTask) -> tuple[PairResult, dict[str, bytes]]:
    """Return a pair's result and the images of `path_figure` by name, which a worker draws while the parent logs."""
    from lmc_repro.barriers.measure import measure_pair  # imports torch: a parent sends tasks without it

    result = measure_pair(drawn.task)
    return result, {} if drawn.title is None else path_figure(result, drawn.title)
