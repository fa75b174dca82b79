"""Results of a comparison that was not made: small numbers that tell pairs, epochs and splits apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from small_study import fingerprint, make_plan, open_tracker, write_run

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import CellResult, CellSummary, EpochResult, Late, PairResult
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, Pair, StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.tracking import Tracker


def make_epoch(epoch: float, shift: int, trained: bool = True) -> EpochResult:
    """A path of three points: errors 10, 40 and 20 per cent, higher by `shift` images; the last loss not finite."""
    curves: dict[SplitName, Curve] = {
        "train": Curve((10 + shift, 40 + shift, 20 + shift), 100, (0.5, 1.5, None)),
        "test": Curve((20, 100, 40 + shift), 200, (0.25, 0.75, 0.5)),
    }
    if not trained:
        return EpochResult(epoch, ("trained", "diverged"), curves, None)
    return EpochResult(epoch, ("trained", "trained"), curves, {s: barriers(curves, s, classes=10) for s in curves})


def make_pair(pair: Pair, trained: bool = True, middle: float = 2) -> PairResult:
    evaluations = (make_epoch(0, 3), make_epoch(middle, 1), make_epoch(4, 0, trained))
    return PairResult(
        pair=pair.name,
        trainer_seed=pair.trainer_seed,
        fingerprints=(fingerprint(pair.runs[0]), fingerprint(pair.runs[1])),
        largest_class=10,
        evaluations=evaluations,
        distance=3.5,
        cosine=None,
        disagreement={"train": 0.25, "test": 0.5},
    )


def make_cell(cell: Cell, mean: float | None = 3.0) -> CellResult:
    known = mean is not None
    summary = CellSummary(
        values=(mean - 1.0, mean + 1.0) if mean is not None else (),
        mean=mean,
        median=mean,
        min=mean - 1.0 if mean is not None else None,
        max=mean + 1.0 if mean is not None else None,
        sd=None,
        line_mean=2.5 if known else None,
        normalised_mean=3.25 if known else None,
        verdict="disconnected" if known else None,
        verdict_strict="mixed" if known else None,
        flags=("provisional", "unstable") if known else (),
        late=(
            Late(2, 1.5, 1.25, "connected"),
            Late(4, mean, 2.5 if known else None, "disconnected" if known else None),
        ),
    )
    return CellResult(tuple(make_pair(pair) for pair in cell.pairs), {"train": summary, "test": summary})


@dataclass
class Small:
    """The study in its project: what tests do with the cell `deep--fast` and its first run, and what they ask for."""

    project: Project
    plan: StudyPlan
    cell: Cell
    runs: Path

    @cached_property
    def config(self) -> RunConfig:
        return self.cell.runs[0]

    @cached_property
    def tracker(self) -> Tracker:
        return self.open()

    @property
    def client(self) -> Any:
        return self.tracker.client

    def open(self, study: str | None = None) -> Tracker:
        """Return a new tracker, as another process has it, of this or another study."""
        return open_tracker(self.project, make_plan(study) if study else self.plan)

    def sync(self, tracker: Tracker | None = None, last: int | None = None, cell: Cell | None = None) -> str:
        """Write the first run's folder, up to epoch `last` or whole, and sync it."""
        folder = write_run(self.runs, self.config, last)
        return (tracker or self.tracker).sync_train(cell or self.cell, self.config, folder)

    def pair(self, tracker: Tracker | None = None, **how: Any) -> str:
        result = make_pair(self.cell.pairs[0], **how)
        return (tracker or self.tracker).log_pair(self.cell, "a" * 16, result, lambda: {"path.png": b"a picture"})

    def finish(self, tracker: Tracker | None = None, mean: float | None = 3.0) -> str:
        return (tracker or self.tracker).finish_cell(self.cell, make_cell(self.cell, mean))

    def run(self, run_id: str) -> Any:
        return self.client.get_run(run_id)

    def points(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value), of one step in the order of time."""
        points = self.client.get_metric_history(run_id, metric)
        return [(point.step, point.value) for point in sorted(points, key=lambda p: (p.step, p.timestamp))]

    def found(self, kind: str) -> list[Any]:
        """Return the runs of a kind in the study's experiment."""
        return list(self.client.search_runs([self.tracker.run_ids()["experiment_id"]], f"tags.`lmc.kind` = '{kind}'"))
