"""Metric points, and logging them in few calls. Errors and barriers in percentage points, losses in nats."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHUNK = 800  # with 100 parameters and 100 tags this is the most that one call may carry


@dataclass(frozen=True)
class Point:
    """One value of a metric; `step` is a whole epoch, or 1000 alpha on a path."""

    name: str
    value: float
    step: int = 0


def finite(points: Iterable[tuple[str, float | None, float]]) -> list[Point]:
    """Return the points whose value is a finite number: MLflow would keep infinity as another number.

    Points at a mark within an epoch are left out: steps are whole, and a rounded one would stand for another epoch.
    """
    return [
        Point(name, value, int(step))
        for name, value, step in points
        if value is not None and math.isfinite(value) and step == int(step)
    ]


def log(
    client: MlflowClient, run_id: str, points: Sequence[Point], params: Mapping[str, Any], tags: Mapping[str, str]
) -> None:
    """Log everything in as few calls as the limits of MLflow allow."""
    from mlflow.entities import Metric, Param, RunTag

    now = time.time_ns() // 1_000_000
    metrics = [Metric(p.name, p.value, now, p.step) for p in points]
    all_params = [Param(name, text(value)) for name, value in params.items()]
    all_tags = [RunTag(name, value) for name, value in tags.items()]
    for i in range(0, max(1, len(metrics)), CHUNK):
        first = i == 0
        client.log_batch(run_id, metrics[i : i + CHUNK], all_params if first else [], all_tags if first else [])


def text(value: Any) -> str:
    """Return a parameter's value as text: strings as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def history(client: MlflowClient, run_id: str, metric_names: Iterable[str]) -> dict[tuple[str, int], float]:
    """Return the last value of each (metric, step) in the store."""
    found: dict[tuple[str, int], float] = {}
    for name in metric_names:
        for metric in sorted(client.get_metric_history(run_id, name), key=lambda m: m.timestamp):
            found[name, metric.step] = metric.value
    return found
