"""What a worker process is asked to do of a pair: functions that a process without torch can send it.

What measures imports torch, and what draws matplotlib, so both are imported where the function is called. A figure
takes as long as all that the parent logs of its pair: the worker draws it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.figure import path_figure
from lmc_repro.compare.pair import PairTask


@dataclass(frozen=True)
class DrawnTask:
    """A pair to measure, and the title of its figure."""

    task: PairTask
    title: str


def measure_pair(task: PairTask) -> PairResult:
    """Return curves and barriers at every mark, and how far apart the endpoints are at the last."""
    from lmc_repro.compare import measure

    return measure.measure_pair(task)


def measure_and_draw(drawn: DrawnTask) -> tuple[PairResult, dict[str, bytes]]:
    """Return a pair's result and the images of `path_figure` by name."""
    result = measure_pair(drawn.task)
    return result, path_figure(result, drawn.title)
