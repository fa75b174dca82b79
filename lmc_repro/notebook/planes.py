"""The plane through three trainings, and its picture, for notebooks."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from lmc_repro.barriers.plane import plane_task
from lmc_repro.barriers.results import Plane
from lmc_repro.barriers.surface import plane_on
from lmc_repro.config.load import validate
from lmc_repro.config.path import PlaneConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.notebook.paths import Picture, ends_of
from lmc_repro.notebook.runs import Run, one_thread
from lmc_repro.report.plane_figure import plane_figure


def measure_plane(a: Run, b: Run, c: Run, dataset: Dataset, points: int = 21, margin: float = 0.2) -> Plane:
    """Return error and loss on the plane through the last weights of three runs (Garipov et al. 2018).

    Args:
        a: The run at the origin.
        b: The run on the x axis.
        c: The run above it.
        dataset: The data that all saw.
        points: The number of grid points per side.
        margin: The room around the runs, as a share of the longer side of their box.

    Returns:
        `runs` has the counts and losses of the three runs themselves, `rows` a curve along `xs` for each of `ys`, both
        by split; places are distances between weights.

    Raises:
        LmcError: Two of the runs make no pair, or the weights of all three span no plane.
    """
    grid = validate(PlaneConfig, {"points": points, "margin": margin}, "measure_plane")
    (first, second), (_, third), _ = (ends_of(*pair, dataset) for pair in combinations((a, b, c), 2))
    task = plane_task((first, second, third), Path(), grid)
    with one_thread():
        return plane_on(dataset, task)


def plot_plane(plane: Plane, title: str = "") -> Picture:
    """Return the picture of a plane: contours of the error in percent, test beside train, the runs marked."""
    names = [f"run {fingerprint}" for fingerprint in plane.fingerprints]
    return Picture(**plane_figure(plane, names, title, "plane", 6.0, ("png", "svg")).files)
