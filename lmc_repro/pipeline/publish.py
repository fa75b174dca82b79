"""Fills a tracking store from a study's files alone: nothing is trained, nothing measured, no data set is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.pair import EVALUATION_NUMERICS, pair_key
from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.common.progress import Listener, part
from lmc_repro.common.project import Project
from lmc_repro.common.words import counted
from lmc_repro.config.path import plane_given
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.pipeline.carried import carried_study, check_carried, check_pair
from lmc_repro.pipeline.workspace import PlannedRun
from lmc_repro.report.figures import path_figure
from lmc_repro.report.plane_figure import plane_figure
from lmc_repro.results.pairs import judged_cell, judged_pair
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import StudyResults
from lmc_repro.results.write import cell_files
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.names import seeds_name
from lmc_repro.training.run_folder import RunFolder


@dataclass(frozen=True)
class Published:
    """Counts of the store's runs (trainings, pairs, cells) that were made or completed, and that existed already."""

    published: int
    there: int

    def __str__(self) -> str:
        return f"published {self.published}, there {self.there}"


def publish_carried(project: Project, plan: StudyPlan, folder: Path, listener: Listener) -> Published:
    """Bring the store up to a folder that `lmc run --no-tracking` wrote anywhere, after checking all of it.

    Raises:
        LmcError: Before anything is written: a file is damaged, missing, added, or not what params.yaml asks for.
    """
    study = carried_study(folder)
    check_carried(project, plan, folder, study)
    return _publish(project, plan, folder / "runs", folder / "results" / study.study, study, listener, carried=folder)


def publish_study(project: Project, plan: StudyPlan, runs: Path, results: Path, listener: Listener) -> Published:
    """Bring the store up to date with the folders: trainings of `runs`, pairs and cells of `results`, the view.

    Runs already there, by fingerprint and content, are left alone, so the next call completes an interrupted one.

    Raises:
        LmcError: There are no finished runs, a file is damaged, or the results are of runs not in params.yaml.
    """
    study = read_study(results) if has_results(results) else None
    published = _publish(project, plan, runs, results, study, listener)
    if study is None:
        listener.line(f"{results}: no results, so no pairs and cells; run `dvc pull`, or `lmc compare {plan.study}`")
    return published


def _publish(
    project: Project,
    plan: StudyPlan,
    runs: Path,
    results: Path,
    study: StudyResults | None,
    listener: Listener,
    carried: Path | None = None,
) -> Published:
    folders = _folders(runs)
    everywhere = [
        PlannedRun(cell, config, folders[config].fingerprint)
        for cell in plan.cells
        for config in cell.runs
        if config in folders
    ]
    known = {run.config for run in everywhere}
    if not known:
        what = f"{plan.study}, profile {plan.profile}"
        raise LmcError(f"{runs}: no finished run of {what}; run `dvc pull`, `dvc repro` or `lmc run {plan.study}`")
    if others := len(folders) - len(known):
        listener.line(f"{runs}: {counted(others, 'run')} of no cell of params.yaml; not published")
    statuses = {folder.fingerprint: folder.status() for folder in folders.values()}
    digests = {config.data.dataset: str(statuses[folders[config].fingerprint]["data_digest"]) for config in known}
    numerics = str(statuses[everywhere[0].fingerprint]["numerics"])
    pairs = _pairs(plan, results, study, folders, statuses) if study is not None else {}
    if study is not None and carried is not None:
        for key, found in pairs.items():
            for result in found:
                check_pair(plan, carried, study, key, result)
    ids = []
    with Tracker.open(project, plan, digests, numerics, study.torch if study and carried else None) as tracker:
        ids += publish_trainings(tracker, everywhere, runs, listener)
        count = sum(len(found) for found in pairs.values())
        with part(listener, f"publishing {counted(count, 'pair')}", count):
            for cell in (cell for cell in plan.cells if cell.key in pairs):
                for result in pairs[cell.key]:
                    key = pair_key(result.fingerprints, plan.profile_config.points, numerics, cell.path, result.epochs)
                    ids.append(log_result(tracker, cell, key, result))
                    listener.advance(1, cell.key)
                plane = study.planes.get(cell.key) if study else None
                judged = judged_cell(cell.config, plan.profile_config.judgement, pairs[cell.key], plane)
                ids.append(log_cell(tracker, cell, judged))
    written = sum(tracker.wrote(run_id) for run_id in ids)
    return Published(written, len(ids) - written)


def publish_trainings(tracker: Tracker, planned: Sequence[PlannedRun], runs: Path, listener: Listener) -> list[str]:
    """Bring the trainings of a runs folder into the store, each below its cell, and return their ids there."""
    ids = []
    tracker.begin({run.cell.key: run.cell for run in planned}.values(), {run.fingerprint for run in planned})
    with part(listener, f"publishing {counted(len(planned), 'run')} to MLflow", len(planned)):
        for run in planned:
            ids.append(tracker.sync_train(run.cell, run.config, RunFolder(runs / run.fingerprint)))
            listener.advance(1, run.cell.key)
        tracker.settle()  # pairs name the trainings that are kept
    return ids


def log_result(
    tracker: Tracker, cell: Cell, key: str, result: PairResult, images: Mapping[str, bytes] | None = None
) -> str:
    """Log a pair with its figure, drawn here if there are no `images` of it, and return its id in the store."""

    def figures() -> Mapping[str, bytes]:
        return images or path_figure(result, figure_title(cell, result.pair))

    return tracker.log_pair(cell, key, result, figures)


def log_cell(tracker: Tracker, cell: Cell, result: CellResult) -> str:
    """Log a cell's summary with its part of the results files and its plane's figure; return its id in the store."""

    def files() -> dict[str, bytes]:
        found = cell_files(tracker.plan.study, cell, result)
        if result.plane:
            runs = [seeds_name(run.seeds) for run in cell.runs[:3]]
            figure = plane_figure(result.plane, runs, f"{cell.row_label}, {cell.column_label}", "plane", 6.0, ("svg",))
            found |= {f"plane.{kind}": content for kind, content in figure.files.items()}
        return found

    return tracker.finish_cell(cell, result, files)


def figure_title(cell: Cell, pair: str) -> str:
    """Return the title of a pair's figure, in the words of its study."""
    return f"{cell.row_label}, {cell.column_label}, pair {pair}"


def _folders(runs: Path) -> dict[RunConfig, RunFolder]:
    """Return the finished runs of a folder by config, whole.

    By their configs, not by fingerprints computed here: those depend on the torch and the CPU that made the runs.
    """
    found = {}
    for folder in map(RunFolder, sorted(runs.glob("*/"))):
        if folder.is_complete():
            if damage := folder.damage():
                raise LmcError(damage)
            found[folder.config()] = folder
    return found


def _pairs(
    plan: StudyPlan,
    results: Path,
    study: StudyResults,
    folders: dict[RunConfig, RunFolder],
    statuses: dict[str, dict[str, Any]],
) -> dict[str, list[PairResult]]:
    """Return the pairs of every cell of the plan that the results hold, judged by today's rules."""
    again = f"run `dvc repro`, or `lmc compare {plan.study}`"
    made = (study.profile, study.points, study.evaluation_numerics)
    here = (plan.profile, plan.profile_config.points, EVALUATION_NUMERICS)
    if made != here:
        names = "profile, points, evaluation numerics"
        raise LmcError(f"{results / 'runs.json'}: {names}: found {made}, allowed: {here}; {again}")
    cells, evaluations = {cell.key: cell for cell in study.cells}, study.curves_by_pair()
    found: dict[str, list[PairResult]] = {}
    for cell in (cell for cell in plan.cells if cell.key in cells):
        recorded, asked = ({"path": c.path.given(), "plane": plane_given(c.plane)} for c in (cells[cell.key], cell))
        for key, there in recorded.items():
            if there != asked[key]:
                where = f"{results / 'cells.json'}: cell {cell.key}: {key}"
                raise LmcError(f"{where}: found {there}, allowed: {asked[key]}; {again}")
        planned = {pair.name: pair for pair in cell.pairs}
        for entry in cells[cell.key].pairs:
            pair = planned.get(entry.pair)
            ends = tuple(folders[config].fingerprint for config in pair.runs if config in folders) if pair else ()
            if pair is None or (ends, pair.epochs) != (entry.fingerprints, entry.epochs):
                raise LmcError(
                    f"{results / 'cells.json'}: cell {cell.key}, pair {entry.pair}, is of runs "
                    f"{' and '.join(entry.fingerprints)}, which params.yaml does not pair so; {again}"
                )
            judged = judged_pair(entry, evaluations[cell.key, entry.pair], cell.config, statuses)
            found.setdefault(cell.key, []).append(judged)
    return found
