"""The figure of one pair: the error along the straight line, the chord between its ends, and the barrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.pair import PairTask
from lmc_repro.barriers.results import PairResult
from lmc_repro.config.base import mark_text
from lmc_repro.config.plan import COMMON, ends_at
from lmc_repro.report.drawing import LINES, drawing_style, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    epochs = "epoch {}" if result.epochs == COMMON else "epochs {} and {}"
    when = epochs.format(*map(mark_text, ends_at(result.epochs, mark.epoch)))
    note = "" if mark.barriers is not None else f"no barrier: endpoints {' and '.join(mark.status)}"
    # One kind: hundreds are drawn, and a browser shows this one at any size.
    images = curves_figure(mark.curves, mark.barriers, f"{title}, {when}\n{note}", ("svg",))
    return {f"path.{kind}": content for kind, content in images.items()}


def curves_figure(
    curves: Mapping[SplitName, Curve],
    found: Mapping[SplitName, Barriers] | None,
    title: str,
    kinds: Sequence[str] = ("png", "svg"),
) -> dict[str, bytes]:
    """Return bytes by kind: the same of one split or both, with their barriers if there are any."""
    with drawing_style():
        figure, axes, heading, artists = _drawing()
        top = 0.0
        for split, parts in artists.items():
            for part in parts:
                part.set_visible(split in curves)
            if split in curves:
                top = max(top, _show(split, curves[split], found[split] if found is not None else None, *parts))
        axes.set_ylim(0.0, 1.08 * top if top > 0.0 else 1.0)
        heading.set_text(title)
        return render(figure, _DPI, kinds)


def _show(
    split: SplitName, curve: Curve, found: Barriers | None, path: Any, chord: Any, barrier: Any, name: Any, _: Any
) -> float:
    """Move a split's lines to a curve; return its largest error in percent."""
    percent = [100.0 * wrong / curve.n for wrong in curve.wrong]
    top = max(range(len(percent)), key=percent.__getitem__)
    path.set_data(curve.alphas, percent)
    chord.set_data((0.0, 1.0), (percent[0], percent[-1]))
    name.set_text(split if found is None else f"{split}, barrier {found.barrier:.2f}")
    barrier.set_visible(found is not None)
    at = curve.alphas[top] + (0.006 if split == "test" else -0.006)  # beside one another, not over
    barrier.set_data((at, at), ((percent[0] + percent[-1]) / 2, percent[top]))
    return percent[top]


@cache
def _drawing() -> tuple[Figure, Axes, Any, dict[SplitName, tuple[Any, ...]]]:
    """Return the figure and lines that all pairs of a process share: making axes costs more than moving lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2))
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.79)
    axes = figure.add_subplot()
    axes.set(xlim=(-0.02, 1.02), xlabel="alpha, from theta_0 to theta_1", ylabel="error, %")
    title = figure.text(0.02, 0.975, "", fontsize=8.0, verticalalignment="top")
    places: tuple[tuple[SplitName, float], ...] = (("train", 0.55), ("test", 0.12))
    artists: dict[SplitName, tuple[Any, ...]] = {}
    for split, left in places:
        style = LINES[split]
        (path,) = axes.plot([], [], marker="o", markersize=2.5, **style)
        (chord,) = axes.plot([], [], color=style["color"], linestyle=":", linewidth=0.8)
        (barrier,) = axes.plot([], [], color=style["color"], marker="_", markersize=5.0, linewidth=0.7)
        place = ((left, left + 0.07), (0.84, 0.84))
        (sample,) = axes.plot(*place, transform=figure.transFigure, clip_on=False, **style)
        name = figure.text(left + 0.085, 0.826, "", fontsize=7.5)
        artists[split] = path, chord, barrier, name, sample
    return figure, axes, title, artists


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
