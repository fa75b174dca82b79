"""Verification of a folder that `lmc run --no-tracking` wrote on another machine, before anything of it is used."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lmc_repro.barriers.pair import EVALUATION_NUMERICS
from lmc_repro.barriers.results import PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.base import epoch_text
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.config.own_code import short_name
from lmc_repro.config.plan import StudyPlan
from lmc_repro.data.status import folder_of, read_status
from lmc_repro.models.registry import build_model
from lmc_repro.pipeline.workspace import PlannedRun, planned_runs
from lmc_repro.results.pairs import ends_problem, runs_problem
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import FILES, PLANES, StudyResults
from lmc_repro.results.write import pair_record, run_record
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.run_folder import MetricRow, RunFolder, content_names, kept_epochs

FIX = "copy the folder again, or make it again with `lmc run --no-tracking`"

_RUNS = re.compile(
    r"runs(/[0-9a-f]{16}(/(config\.json|metrics\.csv|status\.json|checkpoints(/epoch-[0-9]{4,}(\.[0-9]+)?"
    r"\.safetensors)?))?)?"
)
_RESULTS = re.compile(rf"results(/[^/]+(/({'|'.join(map(re.escape, (*FILES, PLANES)))}))?)?")


def carried_study(folder: Path) -> StudyResults:
    """Return the results in FOLDER/results/STUDY.

    Raises:
        LmcError: There are none or several, a file is damaged, or anything below runs/ and results/ is a link or no
            file of a run or a result; one line.
    """
    for top, known in (("runs", _RUNS), ("results", _RESULTS)):
        if not (folder / top).is_dir():
            raise LmcError(f"{folder}: has no folder {top}; name a study of params.yaml, or what `lmc run` wrote")
        for place, folders, names in os.walk(folder / top):
            for path in (Path(place), *(Path(place, name) for name in (*folders, *names))):
                name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
                if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                    raise LmcError(f"{path}: is a link or another special file; {FIX}")
                if not known.fullmatch(name):
                    raise LmcError(f"{path}: is no file of a run or a result; {FIX}")
    found = sorted((folder / "results").iterdir())
    if len(found) != 1:
        raise LmcError(f"{folder / 'results'}: found {len(found)} studies, allowed: one; {FIX}")
    study = read_study(found[0])
    if study.study != found[0].name:
        raise LmcError(f"{found[0] / 'runs.json'}: study: found {study.study!r}, allowed: {found[0].name!r}; {FIX}")
    return study


def check_carried(project: Project, plan: StudyPlan, folder: Path, study: StudyResults) -> None:
    """Check that the runs of a carried folder are those of the plan and its results, whole, and of these numerics.

    Raises:
        LmcError: They are not; one line that names the file.
    """
    here, runs_file = (TRAINING_NUMERICS, EVALUATION_NUMERICS), folder / "results" / study.study / "runs.json"
    if (found := (study.training_numerics, study.evaluation_numerics)) != here:
        raise LmcError(f"{runs_file}: training and evaluation numerics: found {found}, allowed: {here}; {FIX}")
    recorded = {entry.name: entry.digest for entry in study.datasets}
    cells = [cell for cell in plan.cells if short_name(cell.config["data"]["dataset"]) in recorded]
    used = {cell.config["data"]["dataset"] for cell in cells}
    digests = {name: recorded[short_name(name)] for name in sorted(used)}
    for name, digest in digests.items():
        status = read_status(project.prepared, name)
        if status is not None and status["state"] == "ready" and status["digest"] != digest:
            raise LmcError(
                f"{runs_file}: data set {short_name(name)} has digest {digest[:12]}, the one prepared here "
                f"{status['digest'][:12]}; run the study with a copy of {folder_of(project.prepared, name)}"
            )
    planned = {run.fingerprint: run for run in planned_runs(cells, digests, study.numerics, study.torch)}
    names = {path.name for path in (folder / "runs").iterdir()}
    for name in sorted(names ^ {run.fingerprint for run in study.runs}):
        word = "missing" if name not in names else "not named in runs.json"
        raise LmcError(f"{folder / 'runs' / name}: {word}; {FIX}")
    for name in sorted(names):
        if name not in planned:
            raise LmcError(
                f"{folder / 'runs' / name}: no run of {plan.study}, profile {plan.profile}, in params.yaml; give the "
                "pairs, epochs and settings that the folder was made with"
            )
        run, own = RunFolder(folder / "runs" / name), RunFolder(project.working / "runs" / name)
        record = next(record for record in study.runs if record.fingerprint == name)
        try:
            _check_run(run, planned[name], study)
            same = run_record(run, record.cell, planned[name].config, run.status()) == record
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LmcError(f"{run.status_file}: damaged ({type(error).__name__}: {error}); {FIX}") from None
        if not same:
            raise LmcError(f"{runs_file}: run {name}: other values than its folder gives; {FIX}")
        if own.is_complete() and own.status()["checkpoints"] != run.status()["checkpoints"]:
            raise LmcError(
                f"{run.path}: {own.path} is the same run with other weights (trained in another stack); "
                "delete that folder and mlflow.db to take this one"
            )
    for key, plane in study.planes.items():
        if problem := runs_problem(folder / "runs", study.numerics, plane):
            raise LmcError(f"{runs_file.with_name(PLANES)}: cell {key}: {problem}; {FIX}")
    known = {(cell.key, pair.name) for cell in plan.cells for pair in cell.pairs}
    for cell in study.cells:
        for pair in cell.pairs:
            if (cell.key, pair.pair) not in known:
                cells_file = runs_file.with_name("cells.json")
                raise LmcError(f"{cells_file}: cell {cell.key}, pair {pair.pair}: not in params.yaml; {FIX}")


def check_pair(plan: StudyPlan, folder: Path, study: StudyResults, cell: str, result: PairResult) -> None:
    """Check that a pair has curves of the right size at all evaluation epochs, its runs' counts, and its record.

    Raises:
        LmcError: It has not; one line that names the file.
    """
    where, results = f"cell {cell}, pair {result.pair}", folder / "results" / study.study
    planned = next(entry for entry in plan.cells if entry.key == cell)
    evaluations = next(pair for pair in planned.pairs if pair.name == result.pair).evaluations
    sizes = _sizes(dataset_info(planned.config["data"]["dataset"]))
    if tuple(epoch.epoch for epoch in result.evaluations) != evaluations:
        raise LmcError(f"{results / 'curves.csv'}: {where}: other epochs than its runs are evaluated at; {FIX}")
    for epoch in result.evaluations:
        for split, n in sizes.items():
            curve = next((curve for name, curve in epoch.curves.items() if name == split), None)
            if curve is None or curve.n != n:
                raise LmcError(f"{results / 'curves.csv'}: {where}, epoch {epoch.epoch:g}, {split}: not of {n}; {FIX}")
    if problem := ends_problem(folder / "runs", study.numerics, result, planned.path):
        raise LmcError(f"{results / 'curves.csv'}: {where}: {problem}")
    recorded = next(
        pair for entry in study.cells if entry.key == cell for pair in entry.pairs if pair.pair == result.pair
    )
    if recorded != pair_record(result):
        raise LmcError(f"{results / 'cells.json'}: {where}: other numbers than curves.csv gives; {FIX}")


def _check_run(folder: RunFolder, run: PlannedRun, study: StudyResults) -> None:
    """Raise LmcError unless the folder is complete, undamaged and that of this run on the machine of the results."""
    if not folder.is_complete() or folder.config() != run.config:
        raise LmcError(f"{folder.path}: its config is not that of its fingerprint; {FIX}")
    status, info = folder.status(), dataset_info(run.config.data.dataset)
    expected = {
        "fingerprint": run.fingerprint,
        "data_digest": next(entry.digest for entry in study.datasets if entry.name == info.name),
        "numerics": study.numerics,
        "torch": study.torch,
        "training_numerics": study.training_numerics,
    }
    for key, value in expected.items():
        if status.get(key) != value:
            raise LmcError(f"{folder.status_file}: {key}: found {status.get(key)!r}, allowed: {value!r}; {FIX}")
    evaluations = run.config.evaluate_at
    complete = set(status["checkpoints"]) == {epoch_text(epoch) for epoch in evaluations}
    if (
        not complete
        or set(status["files"]) != set(content_names(evaluations))
        or not set(kept_epochs(status)) <= set(evaluations)
    ):
        raise LmcError(f"{folder.status_file}: checkpoints: other epochs than those of its config; {FIX}")
    if damage := folder.damage():
        raise LmcError(damage)
    scores: dict[tuple[float, str], MetricRow] = {(row.epoch, row.split): row for row in folder.metrics()}
    for epoch in evaluations:
        for split, n in _sizes(info).items():
            row = scores.get((epoch, split))
            if row is None or row.n != n or row.wrong is None or not 0 <= row.wrong <= n:
                where = f"{folder.path / 'metrics.csv'}: epoch {epoch_text(epoch)}, {split}"
                raise LmcError(f"{where}: no count out of {n}; {FIX}")
    shapes = build_model(run.config.model, info).shapes
    for epoch in kept_epochs(status):
        if _shapes(folder.checkpoint(epoch)) != shapes:
            raise LmcError(f"{folder.checkpoint(epoch)}: no weights of its network; {FIX}")


def _shapes(path: Path) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of float32 tensors by name, None for anything else."""
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            if any(part.get_dtype() != "F32" for part in slices.values()):
                return None
            return {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError):
        return None


def _sizes(info: DatasetInfo) -> dict[str, int]:
    return {"train": info.n_train, "test": info.n_test}
