"""A pair measured and drawn by a worker: a figure takes as long as all that its parent logs of the pair."""

from __future__ import annotations

from dataclasses import dataclass

from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.figure import path_figure
from lmc_repro.compare.pair import PairTask, measure_pair


@dataclass(frozen=True)
class DrawnTask:
    """A pair to measure, and the title of its figure."""

    task: PairTask
    title: str


def measure_and_draw(drawn: DrawnTask) -> tuple[PairResult, dict[str, bytes]]:
    """Return a pair's result and the images of `path_figure` by name."""
    result = measure_pair(drawn.task)
    return result, path_figure(result, drawn.title)
