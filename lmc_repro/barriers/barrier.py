"""The barrier of a curve: Eq. 1 and 2 of the paper and the variants that the literature calls by the same name.

Functions take the values at evenly spaced alphas, ends included, and keep their unit. Equations 1 and 2 are decoded
from the paper's text and from Frankle et al. 2020 (arXiv 1912.05671), since its mathematics is not readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lmc_repro.barriers.curve import Curve, SplitName

Values = Sequence[float]
COARSE = 11  # points of the paper's curves


def mean_barrier(values: Values) -> float:
    """Eq. 1, the headline: the maximum minus the mean of the ends (Frankle et al. 2020)."""
    return max(values) - (values[0] + values[-1]) / 2


def floor(values: Values) -> float:
    """Half the difference of the ends: Eq. 1 cannot be lower."""
    return abs(values[0] - values[-1]) / 2


def line_barrier(values: Values) -> float:
    """The largest excess over the chord between the ends (arXiv 2209.04836 and others); 0 or more."""
    return max(excess(values))


def middle(values: Values) -> float | None:
    """The value at alpha 0.5 minus the mean of the ends: negative is a better middle; None without that point."""
    if len(values) % 2 == 0:
        return None
    return values[len(values) // 2] - (values[0] + values[-1]) / 2


def argmax_alpha(values: Values) -> float:
    """The first alpha at which the maximum stands."""
    return max(range(len(values)), key=lambda i: values[i]) / (len(values) - 1)


def excess(values: Values) -> list[float]:
    """The values minus the chord (1 - alpha) v_0 + alpha v_1; the ends are exactly 0."""
    last = len(values) - 1
    first, rise = values[0], values[-1] - values[0]
    return [0.0 if i in (0, last) else v - (first + i / last * rise) for i, v in enumerate(values)]


def normalised(barrier: float, accuracy: float, chance: float = 0.0) -> float | None:
    """Eq. 2: the barrier as a share of the accuracy above `chance`; None if there is none."""
    return barrier / (accuracy - chance) if accuracy > chance else None


@dataclass(frozen=True)
class Barriers:
    """All barriers of one split of one pair. Errors in percentage points, normalised in percent, losses in nats.

    `normalised` divides by the mean test accuracy of the ends (for both splits), `normalised_own` by the split's own,
    `normalised_chance` by the test accuracy above chance. Loss barriers are None where the path has a loss that is
    not finite.
    """

    barrier: float
    floor: float
    line: float
    midpoint_excess: float | None
    argmax_alpha: float
    normalised: float | None
    normalised_own: float | None
    normalised_chance: float | None
    error_0: float
    error_1: float
    loss_barrier: float | None
    loss_floor: float | None
    loss_line: float | None
    loss_midpoint_excess: float | None
    loss_argmax_alpha: float | None


def barriers(curves: dict[SplitName, Curve], split: SplitName, classes: int) -> Barriers:
    """Return every barrier of `split`; the test curve is needed for the normalised ones."""
    curve = curves[split]
    points = 100.0 / curve.n  # counts are whole numbers until here, so a flat curve has a barrier of exactly 0
    counts = curve.wrong
    barrier = mean_barrier(counts) * points
    mid = middle(counts)
    test, own = _accuracy(curves["test"]), _accuracy(curve)
    losses = [loss for loss in curve.loss if loss is not None]
    whole = len(losses) == len(curve.loss)
    return Barriers(
        barrier=barrier,
        floor=floor(counts) * points,
        line=line_barrier(counts) * points,
        midpoint_excess=None if mid is None else mid * points,
        argmax_alpha=argmax_alpha(counts),
        normalised=normalised(barrier, test),
        normalised_own=normalised(barrier, own),
        normalised_chance=normalised(barrier, test, 1.0 / classes),
        error_0=counts[0] * points,
        error_1=counts[-1] * points,
        loss_barrier=mean_barrier(losses) if whole else None,
        loss_floor=floor(losses) if whole else None,
        loss_line=line_barrier(losses) if whole else None,
        loss_midpoint_excess=middle(losses) if whole else None,
        loss_argmax_alpha=argmax_alpha(losses) if whole else None,
    )


def to_lose(found: Barriers, classes: int) -> float:
    """Return the mean accuracy of a pair's ends above chance, in points: what a path between them can lose."""
    return 100.0 - (found.error_0 + found.error_1) / 2 - 100.0 / classes


def curve_barriers(curve: Curve, classes: int | None = None) -> Barriers:
    """Return every barrier of one curve, normalised by its own ends; `classes` is for the one above chance."""
    found = barriers({"test": curve}, "test", classes or 1)
    return found if classes is not None else replace(found, normalised_chance=None)


def coarse_barrier(curve: Curve) -> float | None:
    """Return Eq. 1 (points) at 11 of the curve's points, None if the curve lacks them or has no others."""
    gaps = len(curve.wrong) - 1
    if gaps <= COARSE - 1 or gaps % (COARSE - 1):
        return None
    return mean_barrier(curve.wrong[:: gaps // (COARSE - 1)]) * 100.0 / curve.n


def _accuracy(curve: Curve) -> float:
    return 1.0 - (curve.wrong[0] + curve.wrong[-1]) / (2 * curve.n)
