"""Error and loss along a path, as data without torch, so that results load at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lmc_repro.common.errors import LmcError
from lmc_repro.config.base import SPLITS, SplitName

__all__ = ["SPLITS", "Curve", "SplitName", "require_points"]


@dataclass(frozen=True)
class Curve:
    """Wrong predictions and losses of one split at alpha = i / (points - 1), i = 0 .. points - 1.

    `wrong` are counts out of `n`; `loss` is mean cross-entropy in nats, `columns` are means of path metrics by name.
    None stands where a value is not finite.
    """

    wrong: tuple[int, ...]
    n: int
    loss: tuple[float | None, ...]
    columns: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict, hash=False)

    @property
    def alphas(self) -> tuple[float, ...]:
        """The positions on the path; 0 is theta_0."""
        last = len(self.wrong) - 1
        return tuple(i / last for i in range(last + 1))

    @property
    def errors(self) -> tuple[float, ...]:
        """Shares of wrong predictions."""
        return tuple(wrong / self.n for wrong in self.wrong)


def require_points(points: int) -> None:
    """Raise LmcError unless a path has a point between its ends."""
    if points < 3:
        raise LmcError(f"points: found {points}, allowed: 3 or more, both ends included")
