"""Points of a run's metrics, as MLflow has them and as its files give them: the first that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lmc_repro.tracking.points import Point
from lmc_repro.tracking.reader import Reader
from lmc_repro.tracking.stored_run import StoredRun

Points = dict[tuple[str, int], float]
"""Values by metric and step."""


def stored_points(reader: Reader, run: StoredRun, metrics: Iterable[str]) -> Points:
    """Return all points of those metrics that the store has of a run."""
    return {(name, step): v for name, points in reader.history(run, metrics).items() for step, v in points}


def by_step(points: Iterable[Point]) -> Points:
    """Return points, as they are logged, by metric and step."""
    return {(point.name, point.step): point.value for point in points}


def first_difference(
    stored: Mapping[tuple[str, int], float], made: Mapping[tuple[str, int], float]
) -> tuple[str, int, float | None, float | None] | None:
    """Return metric, step, the stored value and the made one, None for one that is not there; None if all are equal."""
    for key in sorted(stored.keys() | made.keys()):
        if (there := stored.get(key)) != (here := made.get(key)):
            return *key, there, here
    return None
