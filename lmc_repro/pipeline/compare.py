"""Compares the runs of a study: pairs them, measures the paths between their weights, judges the cells.

With tracking the weights are MLflow's, after publishing any that it lacks; without, or where not all are kept, those of
the working store.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from lmc_repro.barriers.measure import plane_or_reason
from lmc_repro.barriers.pair import PairEnd, PairTask, pair_key, pair_task
from lmc_repro.barriers.plane import plane_key, plane_task
from lmc_repro.barriers.results import CellResult, PairResult, Plane
from lmc_repro.common.errors import LmcError
from lmc_repro.common.progress import part
from lmc_repro.common.words import counted
from lmc_repro.config.plan import Cell, Pair
from lmc_repro.config.run import RunConfig
from lmc_repro.engine.local import LocalEngine
from lmc_repro.pipeline.publish import figure_title, log_cell, log_result, publish_trainings
from lmc_repro.pipeline.workspace import Workspace, planned_runs
from lmc_repro.report.figures import measure_and_draw
from lmc_repro.results.pairs import (
    ends_problem,
    judged_cell,
    load_pair,
    load_plane,
    runs_problem,
    store_measured,
    store_pair,
)
from lmc_repro.results.write import run_record, write_results
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.find import TrackedRun
from lmc_repro.training.checkpoint import Checkpoint
from lmc_repro.training.run_folder import RunFolder

Images = Mapping[str, bytes]
RunsOf = Callable[[Cell, Sequence[RunConfig]], Sequence[PairEnd]]
"""From a cell and some of its runs to these with their weights."""


@dataclass(frozen=True)
class _Job:
    """A pair of a cell, its runs' fingerprints, and its key."""

    cell: Cell
    pair: Pair
    fingerprints: tuple[str, str]
    key: str


def compare_study(workspace: Workspace) -> dict[str, CellResult]:
    """Pair the runs of every cell, measure the paths, log them to MLflow if it is tracked, write the results folder.

    Publishes first any of `runs` that MLflow lacks, so a deleted store is rebuilt and nothing is trained.

    Returns:
        The result of each cell, by its key.

    Raises:
        LmcError: A run is missing or damaged in either place.
    """
    w = workspace
    cells, digests, not_run = w.available()
    runs = planned_runs(cells, digests, w.tag)
    folders = {run.config: RunFolder(w.runs / run.fingerprint) for run in runs}
    for run in runs:
        folder = folders[run.config]
        if not folder.is_complete():
            fix = f"run `lmc train {w.plan.study}` first"
            raise LmcError(f"{folder.path}: no finished run of cell {run.cell.key}; {fix}")
        if damage := folder.damage():
            raise LmcError(damage)
    statuses = {folder.fingerprint: folder.status() for folder in folders.values()}
    found: dict[str, list[PairResult]] = {cell.key: [] for cell in cells}
    jobs = []
    for cell in cells:
        for pair in cell.pairs:
            first, second = (folders[config].fingerprint for config in pair.runs)
            key = pair_key((first, second), w.plan.profile_config.points, w.tag, cell.path, pair.epochs)
            jobs.append(_Job(cell, pair, (first, second), key))
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker.open(w.project, w.plan, digests, w.tag)) if w.tracked else None
        if tracker is not None:
            # Two cells of a study may need the same run, in a noise and in an init pair: each has it in MLflow.
            everywhere = [run for cell in cells for run in planned_runs([cell], digests, w.tag)]
            publish_trainings(tracker, everywhere, w.runs, w.listener)

        def runs_of(cell: Cell, configs: Sequence[RunConfig]) -> list[PairEnd]:
            wanted = [(folders[config].fingerprint, config) for config in configs]
            if tracker is None or w.keep != "all":  # the working store keeps all weights
                return [PairEnd.of(RunFolder(w.store / fingerprint)) for fingerprint, _ in wanted]
            return _tracked_runs(tracker, cell, wanted, statuses)

        def task_of(job: _Job) -> PairTask:
            a, b = runs_of(job.cell, job.pair.runs)
            points = w.plan.profile_config.points
            path, epochs = job.cell.path, job.pair.epochs
            return pair_task(job.pair.name, (a, b), w.prepared, points, device=w.device, path=path, epochs=epochs)

        with part(w.listener, f"comparing {counted(len(jobs), 'pair')}", len(jobs)):
            for job, result, images in _measure(w, jobs, task_of, statuses):
                if tracker is not None:
                    log_result(tracker, job.cell, job.key, result, images)
                found[job.cell.key].append(result)
                w.listener.advance(1, job.cell.key)
        planes = _planes(w, cells, {m.config: m.fingerprint for m in runs}, runs_of)
        judgement = w.plan.profile_config.judgement
        results = {c.key: judged_cell(c.config, judgement, found[c.key], planes.get(c.key)) for c in cells}
        if tracker is not None:
            for cell in cells:
                log_cell(tracker, cell, results[cell.key])
            if remark := tracker.link_project_run(cells):
                w.listener.line(remark)
    records = [run_record(folders[m.config], m.cell.key, m.config, statuses[m.fingerprint]) for m in runs]
    write_results(w.results, w.plan, results, records, digests, not_run, w.tag, w.device)
    return results


def link_study(workspace: Workspace) -> None:
    """Link the MLflow project's run that started us, if any, to a study's cells in MLflow."""
    cells, digests, _ = workspace.available()
    with Tracker.open(workspace.project, workspace.plan, digests, workspace.tag) as tracker:
        if remark := tracker.link_project_run(cells):
            workspace.listener.line(remark)


def _measure(
    workspace: Workspace,
    jobs: list[_Job],
    task_of: Callable[[_Job], PairTask],
    statuses: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[_Job, PairResult, Images | None]]:
    """Yield every pair's result: measured before and still in the working store, or measured now and drawn.

    The weights are read, and so checked, in either case.
    """
    store = workspace.project.working / "pairs"
    known: dict[str, PairResult] = {}
    asked: deque[_Job] = deque()
    images: dict[tuple[str, str], Images] = {}  # of the cell that it was measured for; another may have the same pair

    def tasks() -> Iterator[tuple[PairTask, str | None]]:
        for job in jobs:
            task = task_of(job)
            result = load_pair(store, job.key, job.cell.config, statuses)
            if result is None:
                asked.append(job)
                yield task, figure_title(job.cell, job.pair.name) if workspace.tracked else None
            else:
                known[job.key] = result

    measured = (workspace.engine or LocalEngine(workspace.jobs)).map(measure_and_draw, tasks())
    for job in jobs:
        while job.key not in known and (drawn := next(measured, None)) is not None:
            done = asked.popleft()
            known[done.key], images[done.cell.key, done.pair.name] = drawn
            if problem := ends_problem(workspace.runs, workspace.tag, known[done.key], done.cell.path):
                raise LmcError(problem)
            store_pair(store, done.key, known[done.key])
        result = dataclasses.replace(known[job.key], pair=job.pair.name)
        yield job, result, images.pop((job.cell.key, job.pair.name), None)


def _tracked_runs(
    tracker: Tracker, cell: Cell, wanted: Sequence[tuple[str, RunConfig]], statuses: Mapping[str, Mapping[str, Any]]
) -> list[PairEnd]:
    """Return a cell's runs, by fingerprint and config, with the weights that MLflow holds."""
    tracked = tracker.runs(cell, [fingerprint for fingerprint, _ in wanted])
    ends = []
    for fingerprint, config in wanted:
        if (run := tracked.get(fingerprint)) is None:
            raise LmcError(
                f"MLflow holds no finished run {fingerprint} of cell {cell.key}; delete mlflow.db and compare again"
            )

        def weights(epoch: float, run: TrackedRun = run) -> Checkpoint:
            return tracker.checkpoint(run, epoch)

        ends.append(PairEnd(fingerprint, config, statuses[fingerprint], weights))
    return ends


def _planes(
    workspace: Workspace, cells: Sequence[Cell], fingerprints: Mapping[RunConfig, str], runs_of: RunsOf
) -> dict[str, Plane]:
    """Return the planes that cells ask for, by cell key: of the working store, or measured now.

    Of three runs that span none, the progress listener is told why.

    Raises:
        LmcError: A run on its plane has other counts than in its training.
    """
    w = workspace
    asked = [(cell, cell.plane, cell.runs[:3]) for cell in cells if cell.plane]
    if not asked:
        return {}
    store, planes = w.project.working / "pairs", dict[str, Plane]()
    keys = {cell.key: plane_key([fingerprints[run] for run in runs], grid, w.tag) for cell, grid, runs in asked}
    for name, key in keys.items():
        if plane := load_plane(store, key):
            planes[name] = plane
    missing = [entry for entry in asked if entry[0].key not in planes]
    tasks = (plane_task(runs_of(cell, runs), w.prepared, grid, w.device) for cell, grid, runs in missing)
    with part(w.listener, f"measuring {counted(len(missing), 'plane')}", len(missing)):
        engine = w.engine or LocalEngine(w.jobs)
        for (cell, _, _), found in zip(missing, engine.map(plane_or_reason, tasks), strict=True):
            if isinstance(found, Plane):
                if problem := runs_problem(w.runs, w.tag, found):
                    raise LmcError(problem)
                store_measured(store, keys[cell.key], found)
                planes[cell.key] = found
            else:
                w.listener.line(f"cell {cell.key}: no plane: {found}")
            w.listener.advance(1, cell.key)
    return planes
