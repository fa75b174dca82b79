"""Trains a plan and measures its paths on a machine without MLflow, and packs what came out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lmc_repro.compare.pair import EVALUATION_NUMERICS, PairTask, pair_key
from lmc_repro.compare.stored import load_pair, store_pair
from lmc_repro.compare.work import measure_pair
from lmc_repro.errors import LmcError
from lmc_repro.execution.bundle_file import Header, write_bundle
from lmc_repro.execution.devices import require_precision
from lmc_repro.execution.engine import run_stacks
from lmc_repro.execution.local import LocalEngine
from lmc_repro.execution.members import Member, available, members_of
from lmc_repro.execution.stacks import Work, plan_stacks
from lmc_repro.numerics import numerics_tag, torch_version
from lmc_repro.progress import Listener
from lmc_repro.schemas.base import mark_text
from lmc_repro.schemas.plan import Cell, Pair, StudyPlan
from lmc_repro.training.checkpoint import Checkpoint, verified
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.resume import peek_epoch
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event

Keep = Literal["all", "last", "none"]


def bundle_study(
    plan: StudyPlan, prepared: Path, work: Path, out: Path, device: str, jobs: int, keep: Keep, told: Listener
) -> str:
    """Train what `work` lacks of the plan, measure every pair, write the bundle `out` and return one line about it.

    `work` keeps runs and pairs: after an interruption the same call goes on from there. `keep` says which checkpoints
    go into the file; their sha256 always do.
    """
    require_precision(plan.runs, device)
    cells, digests, not_run = available(plan, prepared)
    for reason in sorted(set(not_run.values())):
        told.line(f"not run: {reason}")
    tag = numerics_tag(device)
    members = members_of(cells, digests, tag)
    trained = _train(members, prepared, work / "runs", device, tag, jobs, told)
    keys = _measure(plan, cells, members, prepared, work, device, tag, jobs, told)
    files: dict[str, bytes | Path] = {f"pairs/{key}.json": work / "pairs" / f"{key}.json" for key in keys}
    for member in members:
        files |= _run_files(RunFolder(work / "runs" / member.fingerprint), keep)
    header = Header(plan, digests, not_run, device, tag, torch_version(), TRAINING_NUMERICS, EVALUATION_NUMERICS)
    write_bundle(out, header, files)
    return f"{len(members)} runs ({trained} trained now), {len(keys)} pairs, checkpoints: {keep}, {_size(out)}: {out}"


def _train(members: list[Member], prepared: Path, store: Path, device: str, tag: str, jobs: int, told: Listener) -> int:
    todo = []
    for member in members:
        folder = RunFolder(store / member.fingerprint)
        if folder.is_complete():
            if damage := folder.damage():
                raise LmcError(damage)
        else:
            todo.append(Work(member.fingerprint, member.config, "resident", peek_epoch(folder)))
    if todo:
        tasks = plan_stacks(todo, jobs, store, prepared, tag, device)
        epochs = sum(work.config.epochs - work.epoch for work in todo)
        told.begin(f"training {len(todo)} runs in {len(tasks)} stacks on {tag}", epochs)

        def on_event(event: Event) -> None:
            if event.kind == "epoch":
                told.advance(len(event.fingerprints))

        try:
            run_stacks(LocalEngine(jobs), tasks, on_event)
        finally:
            told.end()
    return len(todo)


def _measure(
    plan: StudyPlan,
    cells: list[Cell],
    members: list[Member],
    prepared: Path,
    work: Path,
    device: str,
    tag: str,
    jobs: int,
    told: Listener,
) -> list[str]:
    """Measure the pairs that are not in `work` yet, and return the keys of all, each once."""
    by_config = {member.config: member.fingerprint for member in members}
    statuses = {fingerprint: RunFolder(work / "runs" / fingerprint).status() for fingerprint in by_config.values()}
    profile, store = plan.profile_config, work / "pairs"
    pairs: dict[str, tuple[Cell, Pair]] = {}
    for cell in cells:
        for pair in cell.pairs:
            first, second = (by_config[run] for run in pair.runs)
            pairs.setdefault(pair_key((first, second), profile.points, tag), (cell, pair))
    todo = {k: at for k, at in pairs.items() if load_pair(store, k, at[0], statuses) is None}

    def tasks() -> Iterator[PairTask]:
        for _, pair in todo.values():
            ends = [RunFolder(work / "runs" / by_config[run]) for run in pair.runs]
            first, second = (statuses[end.fingerprint] for end in ends)
            yield PairTask(
                pair=pair.name,
                trainer_seed=pair.trainer_seed,
                fingerprints=(ends[0].fingerprint, ends[1].fingerprint),
                diverged=(first["diverged_epoch"], second["diverged_epoch"]),
                weights={
                    mark: (_weights(ends[0], first, mark), _weights(ends[1], second, mark))
                    for mark in pair.runs[0].evaluate_at
                },
                model=pair.runs[0].model,
                data=pair.runs[0].data,
                prepared=prepared,
                points=profile.points,
                device=device,
            )

    told.begin(f"measuring {len(todo)} pairs of {len(pairs)}", len(todo))
    try:
        for key, result in zip(todo, LocalEngine(jobs).map(measure_pair, tasks()), strict=True):
            store_pair(store, key, result)
            told.advance(1)
    finally:
        told.end()
    return sorted(pairs)


def _weights(folder: RunFolder, status: dict[str, Any], mark: float) -> Checkpoint:
    return verified(folder.checkpoint(mark), status["checkpoints"][mark_text(mark)], folder.fix)


def _run_files(folder: RunFolder, keep: Keep) -> dict[str, bytes | Path]:
    """Return the files of a run by their names in the bundle; status.json says which weights are left out."""
    name, status = f"runs/{folder.fingerprint}", folder.status()
    last = folder.config().epochs
    kept = {"all": list(status["checkpoints"]), "last": [mark_text(last)], "none": []}[keep]
    files: dict[str, bytes | Path] = {f"{name}/{part}": folder.path / part for part in ("config.json", "metrics.csv")}
    for mark in kept:
        path = folder.checkpoint(float(mark))
        files[f"{name}/checkpoints/{path.name}"] = path
    said = status if keep == "all" else {**status, "kept": kept}
    files[f"{name}/status.json"] = (json.dumps(said, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
    return files


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
