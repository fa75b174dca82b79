"""Figures with the same bytes wherever they are drawn: one quiet style, no dates, no versions, no user's settings."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUIET = "#6b6b6b"
# Lines differ in dashes and markers as well as in colour: they can be told apart in grey.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#12436d", "linestyle": "-", "marker": "o"},
    {"color": "#e08214", "linestyle": (0, (4, 2)), "marker": "s"},
    {"color": "#4d4d4d", "linestyle": (0, (1, 1.5)), "marker": "^"},
    {"color": "#7b3294", "linestyle": (0, (6, 2, 1, 2)), "marker": "D"},
    {"color": "#1b7a5a", "linestyle": (0, (2, 2)), "marker": "v"},
    {"color": "#8a5a00", "linestyle": (0, (8, 2)), "marker": "P"},
)
LINES: dict[str, dict[str, Any]] = {
    split: {key: style[key] for key in ("color", "linestyle")} | {"linewidth": 1.2}
    for split, style in zip(("test", "train"), STYLES, strict=False)
}
COLOURS = {
    "#12436d": "test", "#e08214": "train", "#4d4d4d": "third", "#7b3294": "fourth", "#1b7a5a": "fifth",
    "#8a5a00": "sixth", QUIET: "quiet", "#b0b0b0": "untrained", "#ffffff": "paper", "#000000": "ink",
}  # fmt: skip
"""The colour of every line and letter, and its name on a page, which has others for a dark screen and for print."""
UNTRAINED = {"color": "#b0b0b0", "linewidth": 0.8}
"""A pair without a verdict: there, but not to be read as flat."""

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
