"""Figures with the same bytes wherever they are drawn: one quiet style, no dates, no versions, no user's settings."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Solid and dark against dashed and light: the two splits differ in grey too.
LINES: dict[str, dict[str, Any]] = {
    "test": {"color": "#12436d", "linestyle": "-", "linewidth": 1.2},
    "train": {"color": "#e08214", "linestyle": (0, (4, 2)), "linewidth": 1.2},
}
QUIET = "#6b6b6b"

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "lmc_repro",  # element ids are drawn from it; by default from a random number
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.0,
    "text.parse_math": False,  # a title is what it says
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 7.0,
}


# What a figure's bytes can depend on. Not the backend, which belongs to the process.
_GROUPS = (
    "agg", "axes", "axes3d", "figure", "font", "grid", "hatch", "image", "legend", "lines", "markers", "mathtext",
    "patch", "path", "savefig", "svg", "text", "xaxis", "xtick", "yaxis", "ytick",
)  # fmt: skip


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw inside with matplotlib's defaults and this project's style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(_settings()):
        yield


@cache
def _settings() -> Any:  # a dict; matplotlib types its keys one by one
    import matplotlib

    defaults = matplotlib.rcParamsDefault
    return {name: defaults[name] for name in defaults if name.split(".")[0] in _GROUPS} | _STYLE


def inch_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, and axes over all of it that count in inches and draw nothing.

    One set of axes for many panels: a set for each would take most of the time.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0.0, width), ylim=(0.0, height))
    axes.set_axis_off()
    return figure, axes


def render(figure: Figure, dpi: int, kinds: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """Return a figure's bytes by kind, equal for equal drawings; call it inside `drawing_style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    unsigned = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    found = {}
    for kind in kinds:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=unsigned[kind])
        found[kind] = buffer.getvalue()
    return found
