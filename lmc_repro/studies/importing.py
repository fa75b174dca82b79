"""Brings a bundle, made on another machine, into MLflow and a results folder, as if it had been run here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.pair import EVALUATION_NUMERICS, pair_key
from lmc_repro.compare.stored import load_pair
from lmc_repro.data.catalog import DatasetInfo, dataset_info
from lmc_repro.data.status import read_status
from lmc_repro.errors import LmcError
from lmc_repro.execution.bundle_file import Header
from lmc_repro.execution.members import Member, members_of
from lmc_repro.files import write_atomic
from lmc_repro.models.registry import build_model
from lmc_repro.schemas.base import mark_text
from lmc_repro.schemas.plan import Cell, Pair
from lmc_repro.studies.compare import Jobs, check_ends, conclude, key_of
from lmc_repro.studies.workspace import Workspace
from lmc_repro.tracking import Tracker
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.run_folder import MetricRow, RunFolder, kept_marks

FIX = "make the bundle again"


def import_study(workspace: Workspace, header: Header, folder: Path) -> str:
    """Check what a bundle holds, unpacked below `folder`, log it to MLflow and write results; return one line.

    Runs that came with all their weights join the working store; the others are kept for this study's results only.
    Importing again changes nothing. LmcError, before anything is written, if a run or pair is missing, added, is not
    what the plan asks for, or does not hold together.
    """
    cells = [cell for cell in header.plan.cells if cell.key not in header.not_run]
    _check_versions(header, workspace)
    members = members_of(cells, header.digests, header.numerics, header.torch)
    _check_names(folder / "runs", {m.fingerprint for m in members})
    for member in members:
        _check_run(RunFolder(folder / "runs" / member.fingerprint), member, header)
        _check_own(workspace.store, RunFolder(folder / "runs" / member.fingerprint))
    _check_pairs(workspace, cells, members, folder)
    _take_over(workspace, members, folder)
    results = conclude(workspace, cells, header.digests, header.not_run, _stored)
    whole = sum(RunFolder(folder / "runs" / m.fingerprint).holds_all() for m in members)
    pairs = sum(len(result.pairs) for result in results.values())
    return f"imported {len(members)} runs ({whole} with all their weights) and {pairs} pairs, made on {header.numerics}"


def _check_versions(header: Header, workspace: Workspace) -> None:
    here = (TRAINING_NUMERICS, EVALUATION_NUMERICS)
    if (found := (header.training_numerics, header.evaluation_numerics)) != here:
        raise LmcError(
            f"bundle: training and evaluation numerics {found}, of this program {here}; {FIX} with this version"
        )
    for name, digest in header.digests.items():
        status = read_status(workspace.prepared, name)
        if status is not None and status["state"] == "ready" and status["digest"] != digest:
            raise LmcError(
                f"bundle: data set {name} has digest {digest[:12]}, the one prepared here {status['digest'][:12]}; "
                f"{FIX} with a copy of {workspace.prepared / name}"
            )


def _check_names(folder: Path, expected: set[str]) -> None:
    found = {path.name.removesuffix(".json") for path in folder.iterdir()} if folder.is_dir() else set()
    if apart := sorted(found ^ expected):
        word = "missing" if apart[0] in expected else "no part of its plan"
        raise LmcError(f"bundle: {folder.name}/{apart[0]}: {word}; {FIX}")


def _check_run(folder: RunFolder, member: Member, header: Header) -> None:
    """LmcError unless the folder is complete, undamaged and that of this run on the bundle's machine."""
    where = f"bundle: runs/{folder.fingerprint}"
    if not folder.is_complete() or folder.config() != member.config:
        raise LmcError(f"{where}: its config is not that of its fingerprint; {FIX}")
    if damage := folder.damage():
        raise LmcError(f"{where}: {damage}")
    status = folder.status()
    expected = {
        "fingerprint": member.fingerprint,
        "data_digest": header.digests[member.config.data.dataset],
        "numerics": header.numerics,
        "torch": header.torch,
        "training_numerics": header.training_numerics,
    }
    for key, value in expected.items():
        if status.get(key) != value:
            raise LmcError(f"{where}/status.json: {key}: found {status.get(key)!r}, expected {value!r}; {FIX}")
    marks = {mark_text(mark) for mark in member.config.evaluate_at}
    if set(status["checkpoints"]) != marks or not set(map(mark_text, kept_marks(status))) <= marks:
        raise LmcError(f"{where}/status.json: checkpoints: other marks than those of its config; {FIX}")
    info = dataset_info(member.config.data.dataset)
    scores: dict[tuple[float, str], MetricRow] = {(row.epoch, row.split): row for row in folder.metrics()}
    for mark in member.config.evaluate_at:
        for split, n in _sizes(info).items():
            row = scores.get((mark, split))
            if row is None or row.n != n or row.wrong is None or not 0 <= row.wrong <= n:
                raise LmcError(f"{where}/metrics.csv: epoch {mark_text(mark)}, {split}: no count out of {n}; {FIX}")
    shapes = build_model(member.config.model, info).shapes
    for mark in kept_marks(status):
        if _shapes(folder.checkpoint(mark)) != shapes:
            raise LmcError(f"{where}: checkpoint of epoch {mark_text(mark)}: no weights of its network; {FIX}")


def _check_own(store: Path, folder: RunFolder) -> None:
    """LmcError if this project has the run with other weights, as two stacks of one GPU may give."""
    own = RunFolder(store / folder.fingerprint)
    if own.is_complete() and own.status()["checkpoints"] != folder.status()["checkpoints"]:
        raise LmcError(
            f"bundle: runs/{folder.fingerprint}: {own.path} is the same run with other weights (trained in another "
            "stack); delete that folder and mlflow.db to take the bundle's"
        )


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


def _check_pairs(workspace: Workspace, cells: list[Cell], members: list[Member], folder: Path) -> None:
    """LmcError unless there is a file for every pair and each has curves of the right size at all marks."""
    profile = workspace.plan.profile_config
    by_config = {member.config: member.fingerprint for member in members}
    statuses = {m.fingerprint: RunFolder(folder / "runs" / m.fingerprint).status() for m in members}
    wanted: dict[str, tuple[Cell, Pair]] = {}
    for cell in cells:
        for pair in cell.pairs:
            wanted[key_of(workspace, pair, by_config)] = (cell, pair)
    _check_names(folder / "pairs", set(wanted))
    for key, (cell, pair) in wanted.items():
        where = f"bundle: pairs/{key}.json"
        result = load_pair(folder / "pairs", key, cell, statuses)
        if result is None or pair_key(result.fingerprints, profile.points, workspace.tag) != key:
            raise LmcError(f"{where}: damaged, or of another pair; {FIX}")
        if tuple(mark.epoch for mark in result.marks) != pair.runs[0].evaluate_at:
            raise LmcError(f"{where}: other marks than those of its runs; {FIX}")
        sizes = _sizes(dataset_info(cell.config["data"]["dataset"]))
        for mark in result.marks:
            for split in SPLITS:
                curve, n = mark.curves[split], sizes[split]
                whole = len(curve.wrong) == len(curve.loss) == profile.points
                if not whole or curve.n != n or not all(0 <= wrong <= n for wrong in curve.wrong):
                    what = f"epoch {mark_text(mark.epoch)}, {split}"
                    raise LmcError(f"{where}: {what}: not {profile.points} counts out of {n}; {FIX}")


def _sizes(info: DatasetInfo) -> dict[str, int]:
    return {"train": info.n_train, "test": info.n_test}


def _take_over(workspace: Workspace, members: list[Member], folder: Path) -> None:
    """Put runs and pairs where this project keeps its own."""
    workspace.keep_runs(member.fingerprint for member in members)
    for member in members:
        run, own = (RunFolder(parent / member.fingerprint) for parent in (folder / "runs", workspace.store))
        if own.is_complete() and not own.damage():
            run = own  # the same weights, all of them
        elif run.holds_all():
            run.export(workspace.store)
        run.export(workspace.runs)
    for path in sorted((folder / "pairs").iterdir()):
        write_atomic(workspace.project.working / "pairs" / path.name, path.read_bytes())


def _stored(
    workspace: Workspace,
    tracker: Tracker,
    jobs: Jobs,
    by_config: Mapping[Any, str],
    statuses: Mapping[str, dict[str, Any]],
) -> Iterator[tuple[Cell, Pair, PairResult, None]]:
    """Yield every pair as the bundle has it: it was measured where the weights were."""
    store = workspace.project.working / "pairs"
    for cell, pair in jobs:
        result = load_pair(store, key_of(workspace, pair, by_config), cell, statuses)
        assert result is not None  # checked before it was put there
        check_ends(workspace, result)
        yield cell, pair, dataclasses.replace(result, pair=pair.name), None
