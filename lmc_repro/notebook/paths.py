"""Pairs of trainings, planes of three, and their pictures, for notebooks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from lmc_repro.barriers.alignment import Alignment
from lmc_repro.barriers.barrier import curve_barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName, require_points
from lmc_repro.barriers.measure import measure_on
from lmc_repro.barriers.methods import given_methods
from lmc_repro.barriers.metrics import LayerMetric
from lmc_repro.barriers.pair import PairEnd
from lmc_repro.barriers.plane import plane_task
from lmc_repro.barriers.repair import Repair
from lmc_repro.barriers.results import EpochResult, PairResult, Plane
from lmc_repro.barriers.surface import plane_on
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_atomic
from lmc_repro.config.load import validate
from lmc_repro.config.path import PlaneConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.notebook.compare_runs import Ends, check_pair, last_pair
from lmc_repro.notebook.runs import Run, one_thread
from lmc_repro.report.figures import curves_figure, picture_kind
from lmc_repro.report.plane_figure import plane_figure
from lmc_repro.training.checkpoint import Checkpoint, encode
from lmc_repro.training.evaluate import PathMetric


@dataclass(frozen=True)
class Picture:
    """A figure that notebooks show and that `save` writes, as PNG, SVG or PDF."""

    png: bytes = field(repr=False)
    svg: bytes = field(repr=False)
    pdf: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whose name ends with .png, .svg or .pdf."""
        target = Path(path)
        write_atomic(target, getattr(self, picture_kind(target)))


def measure_pair(
    a: Run,
    b: Run,
    dataset: Dataset,
    points: int = 11,
    *,
    align: Alignment | str = "none",
    repair: Repair | str = "none",
    metrics: Sequence[PathMetric | LayerMetric | str] = (),
) -> PairResult:
    """Return the path between the last weights of two runs; `.final` has its curves, statuses and barriers by split.

    Args:
        a: The run at alpha 0.
        b: The run at alpha 1.
        dataset: The data that both saw.
        points: The number of alphas, both ends included; 3 or more.
        align: Moves the weights of `b` before the path is drawn, without changing their function: none, weights,
            activations, FILE.py:NAME or a function.
        repair: Moves the weights at every inner point: none, repair, FILE.py:NAME or a function.
        metrics: Each becomes a column of the curves: names as in params.yaml, or objects.

    Returns:
        Barriers are None where an end diverged or collapsed (its train accuracy is that of a constant predictor).

    Raises:
        LmcError: A line between the two asks nothing: other architectures or data, or no noise that differs. Or the
            alignment changed the function.
    """
    require_points(points)
    methods = given_methods(align, repair, metrics)
    task = last_pair(ends_of(a, b, dataset), Path(), points)
    with one_thread():
        return measure_on(dataset, task, methods)


def plot_path(path: PairResult | Mapping[SplitName, Curve], title: str = "") -> Picture:
    """Return the picture of a pair, or of curves: error in percent over alpha, chords dotted, barriers upright.

    Curves stand under `test`, `train` or both, and are all given a barrier: whether their ends are trained networks
    is not asked.
    """
    if isinstance(path, PairResult):
        return picture_of(path.final, title)
    if not path or set(path) - set(SPLITS):
        raise LmcError(f"plot_path: found {', '.join(path) or 'nothing'}, allowed: a pair, or curves of test and train")
    judged = {split: curve_barriers(curve) for split, curve in path.items()}
    return Picture(**curves_figure(path, judged, f"{title}\n"))


def picture_of(epoch: EpochResult, title: str, splits: Sequence[SplitName] = SPLITS) -> Picture:
    """Return the picture of some splits of a measured path; it says why there is no barrier."""
    note = "" if epoch.barriers else f"no barrier: endpoints {' and '.join(epoch.status)}"
    curves = {split: epoch.curves[split] for split in splits}
    return Picture(**curves_figure(curves, epoch.barriers, f"{title}\n{note}"))


def ends_of(a: Run, b: Run, dataset: Dataset) -> Ends:
    """Return two runs in memory as the ends of a path; LmcError unless they make a pair that saw this data."""
    ends = _end(a), _end(b)
    check_pair(ends, len(dataset.train), f"runs {a.fingerprint} and {b.fingerprint}")
    if (seen := a.status["data_digest"]) != dataset.digest:
        digests = f"digest {dataset.digest[:12]}, but the runs saw {str(seen)[:12]}"
        raise LmcError(f"{dataset.info.name}: {digests}; give the data that they saw")
    return ends


def _end(run: Run) -> PairEnd:
    """Return a run in memory as one end of a path."""
    tensors = {name: tensor.contiguous() for name, tensor in run.weights.items()}
    file = Checkpoint(Path(run.fingerprint), encode(tensors), "train again")
    return PairEnd(run.fingerprint, run.config, run.status, lambda epoch: file)


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
    return Picture(**plane_figure(plane, names, title, "plane", 6.0).files)
