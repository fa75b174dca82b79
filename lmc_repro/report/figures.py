"""Figures with the same bytes wherever they are drawn: the paths of a study, of chosen cells, of one pair.

They have one quiet style, no dates, no versions, and nothing of a user's settings.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.pair import PairTask
from lmc_repro.barriers.results import PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.config.base import epoch_text
from lmc_repro.config.plan import COMMON, ends_at
from lmc_repro.report.grid import NO_VERDICT, ORDER, Entry, StudyTable, means, points, said
from lmc_repro.report.model import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from lmc_repro.barriers.barrier import Barriers
    from lmc_repro.barriers.curve import Curve, SplitName

QUIET = "#6b6b6b"
"""Axes, their numbers, and a pair without a verdict: there, but not to be read as flat."""
OWN_SCALE = "#f6f8fa"
"""The ground of a panel whose axis of values is its own."""
# Lines differ in dashes and markers as well as in colour, so they can be distinguished in grey.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#12436d", "linestyle": "-", "marker": "o"},
    {"color": "#b35806", "linestyle": (0, (4, 2)), "marker": "s"},
    {"color": "#4d4d4d", "linestyle": (0, (1, 1.5)), "marker": "^"},
    {"color": "#7b3294", "linestyle": (0, (6, 2, 1, 2)), "marker": "D"},
    {"color": "#1b7a5a", "linestyle": (0, (2, 2)), "marker": "v"},
    {"color": "#8a5a00", "linestyle": (0, (8, 2)), "marker": "P"},
)
LINES: dict[str, dict[str, Any]] = {
    split: {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.2}
    for split, style in zip(ORDER, STYLES, strict=False)
}
UNTRAINED: dict[str, Any] = {"color": QUIET, "linewidth": 0.8}

COLOURS = {
    "#12436d": "test", "#b35806": "train", "#4d4d4d": "third", "#7b3294": "fourth", "#1b7a5a": "fifth",
    "#8a5a00": "sixth", QUIET: "quiet", OWN_SCALE: "soft", "#ffffff": "paper", "#000000": "ink",
}  # fmt: skip
"""The colour of every line and letter, and its name on a page, which has others for a dark screen and for print."""

KINDS = ("png", "svg", "pdf")
COLUMN = 3.25
"""Inches: the width of a column of a paper in two columns."""
FLAT = 0.4
"""The share of the common axis of values below which a panel has an axis of its own."""
ABOVE = "above each panel: mean barrier in points, "

_BAR: dict[str, Any] = {"marker": "_", "markersize": 5.0, "linewidth": 0.7}
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "lmc_repro",  # element ids are drawn from it; by default from a random number
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.0,
    "text.parse_math": False,  # a title is what it says
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("axes.titlesize", "axes.labelsize"), 8.0),
    **dict.fromkeys(("xtick.color", "ytick.color"), QUIET),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7.0),
    **dict.fromkeys(("xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
}


@contextmanager
def drawing_style(small: float = 7.0) -> Iterator[None]:
    """Draw with matplotlib's defaults and this project's style, ignoring the user's matplotlibrc.

    `small`: the size in points of ticks, legends and the titles of panels; all else has 8 or more.
    """
    import matplotlib.style

    sizes = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "axes.titlesize"), small)
    with matplotlib.style.context(["default", _STYLE | sizes]):
        yield


def render(drawing: Drawing, dpi: int, kinds: Sequence[str] = KINDS) -> dict[str, bytes]:
    """Return a figure's bytes by kind, equal for equal drawings; call it inside `drawing_style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not isinstance(drawing.canvas, FigureCanvasAgg):
        FigureCanvasAgg(drawing)
    unsigned = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    found = {}
    for kind in kinds:
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=kind, dpi=dpi, metadata=unsigned[kind])
        found[kind] = buffer.getvalue()
    return found


def picture_kind(path: Path, place: str = "") -> str:
    """Return the kind of a figure's file by its name; LmcError, after the option `place`, if it is none of KINDS."""
    if (kind := path.suffix.removeprefix(".")) not in KINDS:
        raise LmcError(f"{place}{path}: found {path.suffix!r}, allowed: {', '.join(f'.{kind}' for kind in KINDS)}")
    return kind


def wrapped(text: str, inches: float, size: float, at: str = " ", lines: int | None = None) -> str:
    """Return text of `size` points on lines of about these inches, at most `lines`.

    Where it does not fit it is parted behind each `at`, then at spaces, else within a word.
    """
    most = max(4, int(72 * inches / (0.62 * size)))
    parts = [text] if len(text) <= most or at == " " else re.split(f"(?<={at}) ", text)
    return "\n".join(textwrap.fill(part, most, max_lines=lines, placeholder=" ...") for part in parts)


def paths_figure(table: StudyTable) -> Figure:
    """Return the grid of a study as small pictures: error in percent over alpha at the last epoch, a panel per cell.

    One line per pair, test solid and train dashed; pairs without a verdict are grey. Above each panel stand its mean
    barriers, test / train. All panels share both axes, except those that would be flat: `_scale` gives these a scale
    of their own and a ground of their own. Rows and columns that were not run at all take no room. Equal results give
    equal bytes.
    """
    ran = table.narrowed(lambda entry: entry.cell or not table.results.cells)
    names = [wrapped(row.label, 1.0, 8.0, ",") for row in ran.rows]
    heads = [wrapped(column.label, 1.3, 7.0, ",") for column in ran.columns]
    height = max(1.12, 0.13 * (1 + max(name.count("\n") for name in names)) + 0.3)
    above = 0.11 * max(head.count("\n") for head in heads)
    with drawing_style():
        width = max(COLUMN, 1.6 * len(heads) + 1.2)
        drawing, grid = make_panels(len(names), len(heads), width, height * len(names) + above + 1.2)
        for row, name, line in zip(ran.rows, names, grid, strict=True):
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
            for entry, head, axes in zip(ran.line(row), heads, line, strict=True):
                note = _draw_paths(axes, table, entry, ORDER)
                axes.set_title(f"{head}\n{note}" if row is ran.rows[0] else note, pad=2.0)
        _scale(grid, 2 * table.results.threshold)
        _legend(drawing, grid, ORDER, "error in percent over alpha; ")
        title = table.results.title
        return finished(drawing, table.results.study, f"Error along the path, {title}. {_in_words(table)}", title)


def column_figure(
    table: StudyTable, splits: Sequence[SplitName] = ORDER, kinds: Sequence[str] = KINDS, zoom: bool = False
) -> Figure:
    """Return the paths of a table's cells for a column of a paper: 3.25 inches, letters of 8 points.

    Two panels beside one another, on one scale from 0; `zoom`: with the scales of `paths_figure`. An upright line from
    the mean of the ends to the maximum is the barrier of Eq. 1 of its pair. There is no title, which a paper sets
    below, and no row or column that all cells have in common. Equal results give equal bytes.
    """
    ran = table.entries
    across = min(2, len(ran))
    down = -(-len(ran) // across)
    one_row, one_column = (len({getattr(entry, axis) for entry in ran}) == 1 for axis in ("row", "column"))
    names = [e.column.label if one_row else e.row.label if one_column else e.label for e in ran]
    heads = [wrapped(name, COLUMN / across - 0.4, 8.0, ",") for name in names]
    lines = 2 + max(head.count("\n") for head in heads)
    with drawing_style(small=8.0):
        drawing, grid = make_panels(down, across, COLUMN, (2.2 / across + 0.13 * lines) * down + 0.9)
        for entry, head, axes in zip(ran, heads, grid.flat, strict=False):
            axes.set_title(f"{head}\n{_draw_paths(axes, table, entry, splits, bars=True)}", pad=2.0)
        for axes in grid[:, 0]:
            axes.set_ylabel("error, %")
        for axes in grid.flat[len(ran) :]:
            axes.set_visible(False)
        _scale(grid, 2 * table.results.threshold if zoom else None)
        _legend(drawing, grid, splits, "upright: barrier of a pair (Eq. 1); ")
        return finished(drawing, table.results.study, f"Error along the path. {_in_words(table)}", kinds=kinds)


def _in_words(table: StudyTable) -> str:
    cells = "; ".join(f"{entry.label}: {said(entry)}" for entry in table.entries)
    return f"Mean barrier, test / train, and verdict on test: {cells}."


def _draw_paths(axes: Axes, table: StudyTable, entry: Entry, splits: Sequence[SplitName], bars: bool = False) -> str:
    """Draw a cell's paths, train below test, with their barriers if `bars`; return the text above them."""
    if entry.cell is None:
        axes.text(0.5, 0.5, entry.outcome, transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return ""
    for split in (split for split in SPLITS if split in splits):
        for place, pair in enumerate(entry.cell.pairs):
            curve = table.results.curves[entry.cell.key, pair.pair, pair.epoch, split]
            percent = [100.0 * error for error in curve.errors]
            style = LINES[split] | (UNTRAINED if pair.barriers[split] is None else {})
            axes.plot(curve.alphas, percent, **style)
            if bars and pair.barriers[split] is not None:
                beside = 0.05 * (place - (len(entry.cell.pairs) - 1) / 2)
                at = min(0.98, max(0.02, curve.alphas[percent.index(max(percent))] + beside))
                ends = ((percent[0] + percent[-1]) / 2, max(percent))
                axes.plot((at, at), ends, **_BAR, color=LINES[split]["color"], clip_on=False)
    if not entry.n:
        return NO_VERDICT
    return means(entry.cell) if len(splits) > 1 else points(entry.mean(splits[0]))


def _scale(grid: Any, least: float | None) -> None:
    """Give all panels one scale, and each that would fill less than FLAT of it its own, of at least `least` percent.

    None: one scale for all.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = {axes: [y for line in axes.lines for y in line.get_ydata()] for axes in grid.flat}
    highest = 1.05 * max((max(ys) for ys in drawn.values() if ys), default=0.0) or 1.0
    locator = MaxNLocator(3, steps=(1, 2, 5, 10))
    for axes, ys in drawn.items():
        bottom, top = 0.0, highest
        if ys and least is not None and (height := max(max(ys) - min(ys), least)) <= FLAT * highest:
            bottom = max(0.0, (min(ys) + max(ys) - 1.1 * height) / 2)
            top = bottom + 1.1 * height
            axes.set_facecolor(OWN_SCALE)
        # ticks within: placed by a locator they would be more, and take most of the time
        ticks = [tick for tick in locator.tick_values(bottom, top) if bottom <= tick <= top] if ys else []
        axes.set(xlim=(0.0, 1.0), ylim=(bottom, top), xticks=[])
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    for axes in grid[-1]:
        axes.set_xticks((0.0, 0.5, 1.0), ("0", "0.5", "1"))
        axes.set_xlabel("alpha", fontsize=8.0)


def _legend(drawing: Drawing, grid: Any, splits: Sequence[SplitName], more: str = "") -> None:
    """Explain the lines, the grey ones and the grounds that there are, and the numbers above the panels."""
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], label=split, **LINES[split]) for split in splits]
    if any(line.get_color() == QUIET for axes in grid.flat for line in axes.lines):
        handles.append(Line2D([], [], label=NO_VERDICT, **UNTRAINED))
    legend(drawing, [*handles, *own_scales(grid.flat)], more + ABOVE + " / ".join(splits))


def own_scales(grid: Iterable[Axes]) -> list[Any]:
    """Return the legend's handle of panels with a scale of their own, if there are any."""
    from matplotlib.colors import to_hex
    from matplotlib.patches import Patch

    shaded = any(to_hex(axes.get_facecolor()) == OWN_SCALE for axes in grid)
    return [Patch(facecolor=OWN_SCALE, edgecolor=QUIET, linewidth=0.6, label="a scale of its own")] * shaded


def legend(drawing: Drawing, handles: Sequence[Any], title: str) -> None:
    """Put a legend below the panels, in as many columns as there is room for, its title on top."""
    import matplotlib

    width, size = drawing.get_figwidth(), float(matplotlib.rcParams["legend.fontsize"])
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, int(width / (0.62 * size * longest / 72 + 0.55)))
    drawing.legend(
        handles=handles, loc="outside lower left", ncols=columns, handlelength=3.0, columnspacing=1.0,
        title=wrapped(title, width - 0.2, size), title_fontsize=size, alignment="left",
    )  # fmt: skip


def make_panels(rows: int, columns: int, width: float, height: float, shared: Any = False) -> tuple[Drawing, Any]:
    """Return a figure of this size in inches, and its rows of axes, which may share both scales."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, height), layout="constrained")
    return drawing, drawing.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False)


def finished(
    drawing: Drawing, name: str, alt: str, title: str = "", label: str = "", kinds: Sequence[str] = KINDS
) -> Figure:
    """Return a drawing as a figure, with its title and the label of its values, everything in its place."""
    values = drawing.supylabel(wrapped(label, drawing.get_figheight() - 1.0, 8.0), fontsize=8.0) if label else None
    if title:
        drawing.suptitle(wrapped(title, drawing.get_figwidth() - 0.2, 9.0), x=0.01, ha="left", fontsize=9.0)
    drawing.draw_without_rendering()  # places everything, once for all kinds
    drawing.set_layout_engine(None)
    if values:  # beside the panels: a legend below them is no part of their height
        ends = [end for axes in drawing.axes for end in axes.get_position().intervaly]
        values.set_y((min(ends) + max(ends)) / 2)
    return Figure(name, alt, render(drawing, 150, kinds))


def path_figure(result: PairResult, title: str) -> dict[str, bytes]:
    """Return {"path.svg": bytes}: a pair at its last epoch.

    Error in percent over alpha, test solid and train dashed, the chords between the ends dotted; an upright line from
    the mean of the ends to the maximum is the barrier of Eq. 1 (paper, Section 2). A pair with an endpoint that is
    not trained has curves and no barrier: the figure says so. Equal results and titles give equal bytes.
    """
    epoch = result.final
    epochs = "epoch {}" if result.epochs == COMMON else "epochs {} and {}"
    when = epochs.format(*map(epoch_text, ends_at(result.epochs, epoch.epoch)))
    note = "" if epoch.barriers is not None else f"no barrier: endpoints {' and '.join(epoch.status)}"
    # One kind: hundreds are drawn, and a browser shows this one at any size.
    images = curves_figure(epoch.curves, epoch.barriers, f"{title}, {when}\n{note}", ("svg",))
    return {f"path.{kind}": content for kind, content in images.items()}


def curves_figure(
    curves: Mapping[SplitName, Curve],
    found: Mapping[SplitName, Barriers] | None,
    title: str,
    kinds: Sequence[str] = KINDS,
) -> dict[str, bytes]:
    """Return bytes by kind: the same of one split or both, with their barriers if there are any."""
    with drawing_style():
        drawing, axes, heading, artists = _pair_drawing()
        highest = 0.0
        for split, parts in artists.items():
            for part in parts:
                part.set_visible(split in curves)
            if split not in curves:
                continue
            path, chord, barrier, name, _ = parts
            curve, percent = curves[split], [100.0 * wrong / curves[split].n for wrong in curves[split].wrong]
            top = max(percent)
            highest = max(highest, top)
            path.set_data(curve.alphas, percent)
            chord.set_data((0.0, 1.0), (percent[0], percent[-1]))
            name.set_text(split if found is None else f"{split}, barrier {found[split].barrier:.2f}")
            barrier.set_visible(found is not None)
            at = curve.alphas[percent.index(top)] + (0.006 if split == "test" else -0.006)  # beside one another
            barrier.set_data((at, at), ((percent[0] + percent[-1]) / 2, top))
        axes.set_ylim(0.0, 1.08 * highest if highest > 0.0 else 1.0)
        first, _, note = title.partition("\n")
        heading.set_text(f"{wrapped(first, 4.4, 8.0, lines=2)}\n{note}")
        return render(drawing, 100, kinds)


@cache
def _pair_drawing() -> tuple[Drawing, Axes, Any, dict[SplitName, tuple[Any, ...]]]:
    """Return the figure and lines that all pairs of a process share: making axes costs more than moving lines."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(4.6, 3.4))
    drawing.subplots_adjust(left=0.12, right=0.97, bottom=0.13, top=0.77)
    axes = drawing.add_subplot()
    axes.set(xlim=(-0.02, 1.02), xlabel="alpha, from theta_0 to theta_1", ylabel="error, %")
    title = drawing.text(0.02, 0.975, "", fontsize=8.0, verticalalignment="top")
    artists: dict[SplitName, tuple[Any, ...]] = {}
    for split, left in zip(SPLITS, (0.55, 0.12), strict=True):
        style = LINES[split]
        (path,) = axes.plot([], [], marker="o", markersize=2.5, **style)
        (chord,) = axes.plot([], [], color=style["color"], linestyle=":", linewidth=0.8)
        (barrier,) = axes.plot([], [], color=style["color"], **_BAR)
        place = ((left, left + 0.07), (0.82, 0.82))
        (sample,) = axes.plot(*place, transform=drawing.transFigure, clip_on=False, **style)
        name = drawing.text(left + 0.085, 0.807, "", fontsize=7.5)
        artists[split] = path, chord, barrier, name, sample
    return drawing, axes, title, artists


def measure_and_draw(drawn: tuple[PairTask, str | None]) -> tuple[PairResult, dict[str, bytes]]:
    """Return a pair's result and the images of `path_figure` by name, which a worker draws while the parent logs.

    `drawn` is a task and the title of its figure; None: draw none.
    """
    from lmc_repro.barriers.measure import measure_pair  # imports torch: a parent sends tasks without it

    task, title = drawn
    result = measure_pair(task)
    return result, {} if title is None else path_figure(result, title)
