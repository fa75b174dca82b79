"""Compares the runs of a study: those that MLflow holds, after publishing what it lacks."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.compare.files import RunRecord, write_results
from lmc_repro.compare.pair import PairTask, pair_key
from lmc_repro.compare.stored import load_pair, store_pair
from lmc_repro.compare.work import DrawnTask, measure_and_draw
from lmc_repro.errors import LmcError
from lmc_repro.execution.local import LocalEngine
from lmc_repro.execution.members import Member
from lmc_repro.schemas.plan import Cell, Pair
from lmc_repro.studies.publish import figure_title, judged_cell, log_result, publish_trainings
from lmc_repro.studies.train import members
from lmc_repro.studies.workspace import Workspace
from lmc_repro.tracking import Tracker
from lmc_repro.training.run_folder import RunFolder


def compare_study(workspace: Workspace) -> dict[str, CellResult]:
    """Pair the runs of every cell, measure the paths, log them to MLflow and write the results folder.

    What MLflow lacks of `runs` is published first, so a deleted store is rebuilt and nothing is trained. LmcError if
    a run is missing or damaged in either place.
    """
    return conclude(workspace, *workspace.available(), _measure)


Jobs = list[tuple[Cell, Pair]]
Images = Mapping[str, bytes]
Measure = Callable[
    [Workspace, Tracker, Jobs, Mapping[Any, str], Mapping[str, dict[str, Any]]],
    Iterator[tuple[Cell, Pair, PairResult, Images | None]],
]
"""From pairs, fingerprints by config and statuses by fingerprint to every pair's result, in order, and its figure."""


def conclude(
    workspace: Workspace, cells: list[Cell], digests: dict[str, str], not_run: dict[str, str], measure: Measure
) -> dict[str, CellResult]:
    """Publish the runs, log what `measure` finds of every pair, judge the cells and write the results folder."""
    runs = members(workspace, cells, digests)
    # Two cells of one study may need the same run, one in a noise pair and one in an init pair: each has it in MLflow.
    everywhere = [member for cell in cells for member in members(workspace, [cell], digests)]
    statuses = {member.fingerprint: _status(workspace, member) for member in runs}
    tracker = Tracker.open(workspace.project, workspace.plan, digests, workspace.tag, workspace.torch)
    publish_trainings(tracker, everywhere, workspace.runs, workspace.listener)
    by_config = {member.config: member.fingerprint for member in runs}
    found: dict[str, list[PairResult]] = {cell.key: [] for cell in cells}
    jobs = [(cell, pair) for cell in cells for pair in cell.pairs]
    workspace.listener.begin(f"comparing {len(jobs)} pairs", len(jobs))
    try:
        for cell, pair, result, images in measure(workspace, tracker, jobs, by_config, statuses):
            log_result(tracker, cell, key_of(workspace, pair, by_config), result, images)
            found[cell.key].append(result)
            workspace.listener.advance(1, cell.key)
    finally:
        workspace.listener.end()
    results = {}
    for cell in cells:
        results[cell.key] = judged_cell(workspace.plan, cell, found[cell.key])
        tracker.finish_cell(cell, results[cell.key])
    records = [
        RunRecord.of(RunFolder(workspace.runs / m.fingerprint), m.cell.key, m.config, statuses[m.fingerprint])
        for m in runs
    ]
    if remark := tracker.link_project_run(cells):
        workspace.listener.line(remark)
    tracker.close()
    w = workspace
    write_results(w.results, w.plan, results, records, digests, not_run, w.tag, w.device, w.torch)
    return results


def link_study(workspace: Workspace) -> None:
    """Lead from the MLflow project's run that started us, if one did, to a study's cells as they stand in MLflow."""
    cells, digests, _ = workspace.available()
    with Tracker.open(workspace.project, workspace.plan, digests, workspace.tag) as tracker:
        if remark := tracker.link_project_run(cells):
            workspace.listener.line(remark)


def _status(workspace: Workspace, member: Member) -> dict[str, Any]:
    folder = RunFolder(workspace.runs / member.fingerprint)
    if not folder.is_complete():
        raise LmcError(
            f"{folder.path}: no finished run of cell {member.cell.key}; run `lmc train {workspace.plan.study}` first"
        )
    if damage := folder.damage():
        raise LmcError(damage)
    return folder.status()


def key_of(workspace: Workspace, pair: Pair, by_config: Mapping[Any, str]) -> str:
    fingerprints = (by_config[pair.runs[0]], by_config[pair.runs[1]])
    return pair_key(fingerprints, workspace.plan.profile_config.points, workspace.tag)


def _measure(
    workspace: Workspace,
    tracker: Tracker,
    jobs: Jobs,
    by_config: Mapping[Any, str],
    statuses: Mapping[str, dict[str, Any]],
) -> Iterator[tuple[Cell, Pair, PairResult, Images | None]]:
    """Yield every pair's result: measured before and still in the working store, or measured now and drawn.

    The weights are read from MLflow, and so checked, in either case.
    """
    store = workspace.project.working / "pairs"
    known: dict[str, PairResult] = {}
    asked: deque[tuple[str, str]] = deque()
    images: dict[tuple[str, str], Images] = {}  # of the cell that it was measured for; another may have the same pair

    def tasks() -> Iterator[DrawnTask]:
        for cell, pair in jobs:
            task = _task(workspace, tracker, cell, pair, by_config, statuses)
            key = key_of(workspace, pair, by_config)
            result = load_pair(store, key, cell, statuses)
            if result is None:
                asked.append((cell.key, pair.name))
                yield DrawnTask(task, figure_title(cell, pair.name))
            else:
                known[key] = dataclasses.replace(result, pair=pair.name)

    jobs_here = workspace.jobs if workspace.device == "cpu" else 1  # processes would share one GPU's memory
    measured = LocalEngine(jobs_here).map(measure_and_draw, tasks())
    for cell, pair in jobs:
        key = key_of(workspace, pair, by_config)
        while key not in known and (drawn := next(measured, None)) is not None:
            result, images[asked.popleft()] = drawn
            check_ends(workspace, result)
            found = pair_key(result.fingerprints, workspace.plan.profile_config.points, workspace.tag)
            store_pair(store, found, result)
            known[found] = result
        yield cell, pair, known[key], images.pop((cell.key, pair.name), None)


def _task(
    workspace: Workspace,
    tracker: Tracker,
    cell: Cell,
    pair: Pair,
    by_config: Mapping[Any, str],
    statuses: Mapping[str, dict[str, Any]],
) -> PairTask:
    """Read a pair's weights at all marks from MLflow."""
    first, second = (by_config[config] for config in pair.runs)
    tracked = tracker.runs(cell, [first, second])
    for fingerprint in (first, second):
        if fingerprint not in tracked:
            raise LmcError(
                f"MLflow holds no finished run {fingerprint} of cell {cell.key}; delete mlflow.db and compare again"
            )
    a, b = tracked[first], tracked[second]
    marks = pair.runs[0].evaluate_at
    weights = {epoch: (tracker.checkpoint(a, epoch), tracker.checkpoint(b, epoch)) for epoch in marks}
    return PairTask(
        pair=pair.name,
        trainer_seed=pair.trainer_seed,
        fingerprints=(first, second),
        diverged=(statuses[first]["diverged_epoch"], statuses[second]["diverged_epoch"]),
        weights=weights,
        model=pair.runs[0].model,
        data=pair.runs[0].data,
        prepared=workspace.prepared,
        points=workspace.plan.profile_config.points,
        device=workspace.device,
    )


def check_ends(workspace: Workspace, result: PairResult) -> None:
    """LmcError unless the path's ends have the error counts that their runs logged: the weights are those runs'."""
    if problem := ends_problem(workspace.runs, workspace.tag, result):
        raise LmcError(problem)


def ends_problem(runs: Path, tag: str, result: PairResult) -> str | None:
    """Return one line if an end of a path has another error count than its run in `runs` logged, None if all agree.

    Equal on a CPU. On a GPU the ends were counted in another stack, so near-ties may fall differently: one in a
    thousand images is allowed. `tag` is the numerics tag of the runs.
    """
    share = 1 / 1000 if tag.startswith("cuda") else 0.0
    for end, fingerprint in enumerate(result.fingerprints):
        folder = RunFolder(runs / fingerprint)
        logged = {(row.epoch, row.split): row.wrong for row in folder.metrics()}
        for mark in result.marks:
            for split, curve in mark.curves.items():
                found = curve.wrong[-end]
                said = logged.get((mark.epoch, split))
                if said is None or abs(said - found) > share * curve.n:
                    return (
                        f"{folder.path / 'metrics.csv'}: epoch {mark.epoch:g} says {said} wrong on {split}, pair "
                        f"{result.pair} has {found}: other bits than in training; delete {folder.path} and train again"
                    )
    return None
