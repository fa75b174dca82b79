"""Results of a comparison: of a pair at an evaluation epoch, of a pair, of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.status import EndpointStatus
from lmc_repro.config.plan import COMMON, Epochs

Verdict = Literal["connected", "disconnected", "unequal ends"]
"""These words, with their space, stand in cells.json, in MLflow's tags and on every page."""

DIFFERENT = 1 / 1000
"""The share of a split's images, near-ties, on which another order of additions may change a network's prediction."""

StrictVerdict = Literal["connected", "disconnected", "unequal ends", "mixed"]


@dataclass(frozen=True)
class EpochResult:
    """A pair at one evaluation epoch. `barriers` is None unless both endpoints are trained: it has no numbers."""

    epoch: float
    status: tuple[EndpointStatus, EndpointStatus]
    curves: dict[SplitName, Curve]
    barriers: dict[SplitName, Barriers] | None


@dataclass(frozen=True)
class PairResult:
    """A pair over training; the last evaluation epoch is the one that counts.

    `largest_class` is the number of training images with the most common label, of those that the runs were trained
    on. `distance` is |theta_0 - theta_1|, `cosine` that of theta_0 and theta_1, `disagreement` the share of a split's
    images on which the two endpoints predict differently, all at the last epoch; None where weights are not finite.
    `epochs` are the ends' own; a pair of two such ends has one evaluation epoch, the later of them. `permutations` are
    those of theta_1's units at the last epoch, see `alignment.recorded`; None where nothing was aligned.
    """

    pair: str
    trainer_seed: int
    fingerprints: tuple[str, str]
    largest_class: int
    evaluations: tuple[EpochResult, ...]
    distance: float | None
    cosine: float | None
    disagreement: dict[SplitName, float]
    epochs: Epochs = COMMON
    permutations: dict[str, str] | None = None

    @property
    def final(self) -> EpochResult:
        """The pair at the last epoch."""
        return self.evaluations[-1]


@dataclass(frozen=True)
class Late:
    """A cell's test of stability: its means (Eq. 1 and line) and verdict at one of the last five evaluation epochs."""

    epoch: int | float
    mean: float | None
    line_mean: float | None
    verdict: Verdict | None


@dataclass(frozen=True)
class CellSummary:
    """One split of a cell. Barriers (Eq. 1) in percentage points, over trainer seeds.

    `values` are one number per trainer seed (dependent pairs of a seed are averaged first), only of pairs with trained
    endpoints; everything is None where there are none. `sd` (n - 1) only for n >= 3. Flags: `provisional` n < 3,
    `borderline` a deciding mean lies within one sd of the threshold, `unstable` the verdict changes among the last
    five evaluation epochs, `undertrained` an end has too little train accuracy, `nothing_to_lose` the ends are so
    close to chance that there is no verdict by points.
    """

    values: tuple[float, ...]
    mean: float | None
    median: float | None
    min: float | None
    max: float | None
    sd: float | None
    line_mean: float | None
    normalised_mean: float | None
    verdict: Verdict | None
    verdict_strict: StrictVerdict | None
    flags: tuple[str, ...]
    late: tuple[Late, ...]


Place = tuple[float, float]
"""Coordinates on a plane, in units of distance between weights."""


@dataclass(frozen=True)
class Plane:
    """Wrong predictions and losses on the plane through three runs after their last epoch.

    `corners` are the places of the runs: the first is the origin, the second lies on the x axis, the third above it.
    `runs` holds the three networks themselves (in place of alphas), `rows` a curve along all of `xs` for each of `ys`.
    """

    fingerprints: tuple[str, str, str]
    corners: tuple[Place, Place, Place]
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    runs: dict[SplitName, Curve]
    rows: dict[SplitName, tuple[Curve, ...]]


@dataclass(frozen=True)
class CellResult:
    """A cell: its pairs, the summary of each split, and the plane if it was asked for and there is one."""

    pairs: tuple[PairResult, ...]
    summary: dict[SplitName, CellSummary]
    plane: Plane | None = None
