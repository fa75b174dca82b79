"""Trains a run again from MLflow's record alone, in a fresh folder, and compares every recorded bit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from lmc_repro.barriers.measure import measure_pair
from lmc_repro.barriers.pair import PairEnd, pair_task
from lmc_repro.barriers.results import PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.progress import Listener, part
from lmc_repro.common.project import Project
from lmc_repro.common.words import counted
from lmc_repro.config.base import parse_epoch
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import validate
from lmc_repro.config.path import PathConfig
from lmc_repro.config.plan import COMMON
from lmc_repro.data.status import require_ready
from lmc_repro.engine.devices import resolve_device
from lmc_repro.engine.local import LocalEngine, default_jobs
from lmc_repro.engine.protocol import run_stacks
from lmc_repro.engine.stacks import QueuedRun, plan_stacks
from lmc_repro.pipeline.workspace import prepared_dir
from lmc_repro.tracking import names
from lmc_repro.tracking.content import PERMUTATIONS, TABLE, git_commit, pair_points, pair_tables, path_table, versions
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event
from lmc_repro.verification.differences import (
    Check,
    Finding,
    RecordedTraining,
    Tally,
    Where,
    differences,
    explain,
    logged_points,
    values,
)

Identity = Mapping[str, str | None]
"""The fingerprint, and values by the keys of PARTS; None where one was not recorded."""

PARTS = {
    "torch": ("torch", "torch"),
    "numerics": ("numerics (mode and kind of CPU)", "numerics"),
    "training_numerics": ("TRAINING_NUMERICS", "training_numerics"),
    "data": ("data digest", "data_digest"),
    "commit": ("commit", "lmc.git_commit"),
    "numpy": ("numpy", "lmc.version.numpy"),
    "lmc_repro": ("lmc_repro", "lmc.version.lmc_repro"),
}
"""The name of each part for people, and its key of status.json or its tag; the likeliest cause of other bits first."""

KEYS: tuple[tuple[str, str, Where], ...] = (
    ("data digest", "data_digest", "data"),
    ("initial weights", "init_sha256", "init"),
    ("order", "order_sha256", "order"),
    ("augmentation", "augmentation_sha256", "augmentation"),
    ("diverged epoch", "diverged_epoch", "training"),
)
"""Keys of status.json besides the checksums of files: name, key, and where a difference lies."""

_CODE = ("training_numerics", "commit", "lmc_repro")
# Per kind of difference the parts that can cause it (a CPU does not change an order), and the code to look at.
_CAUSES: dict[Where, tuple[tuple[str, ...], str]] = {
    "stored": (
        (),
        "a disk, a copy or a hand has changed MLflow's files after they were written; delete mlflow.db and "
        "mlartifacts and compare again: they are rebuilt from runs/",
    ),
    "data": (("data",), "the data were prepared from other files; compare them with the publisher's"),
    "init": (("torch", *_CODE), "the initialisation in lmc_repro/models"),
    "order": (("data", "numpy", *_CODE), "the order in lmc_repro/data/order.py"),
    "augmentation": (("data", "numpy", *_CODE), "the draws in lmc_repro/data/augment.py"),
    "training": (
        tuple(PARTS),
        "the same start and the same batches: the arithmetic of a step, of torch or of lmc_repro/training; in native "
        "mode another CPU with the same tag",
    ),
    "path": (
        tuple(PARTS),
        "the evaluation in lmc_repro/barriers or lmc_repro/training/evaluate.py (EVALUATION_NUMERICS)",
    ),
}


def likely_reasons(first: Finding, recorded: Identity, here: Identity) -> tuple[str, ...]:
    """Return possible causes of the first difference, the likeliest first; at least one line."""
    causes, look_at = _CAUSES[first.where]
    if not causes:
        return (look_at,)
    changed = {name: f"recorded {there}, here {now}" for name, there, now in differences(recorded, here)}
    reasons = [f"{title}: {changed[name]}" for name, (title, _) in PARTS.items() if name in changed and name in causes]
    nothing = "of all that was recorded nothing that could do this has changed; an uncommitted change, or a machine"
    return (*(reasons or [nothing]), look_at)


@dataclass(frozen=True)
class Comparison:
    """A training, or the path of a pair, compared with its second making; identities of trainings alone."""

    run_id: str
    name: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    recorded: Identity | None = None
    here: Identity | None = None

    def lines(self) -> Iterator[str]:
        """Yield the comparison for people."""
        yield f"{'training' if self.recorded else 'path'} {self.name}, run {self.run_id}"
        if self.recorded and self.here:
            there, here = map(_identity_line, (self.recorded, self.here))
            yield f"  recorded: {there}"
            yield f"  here:     {'the same' if here == there else here}"
        for check in self.checks:
            state = f"{check.equal} of {check.total} identical" if check.total else "none recorded"
            yield f"  {check.name:<18} {state}" + ("" if check.equal == check.total else "  DIFFERS")


def _identity_line(identity: Identity) -> str:
    commit = identity["commit"] or "no commit"
    return (
        f"torch {identity['torch']}, {identity['numerics']}, TRAINING_NUMERICS {identity['training_numerics']}, data "
        f"{(identity['data'] or 'unknown')[:12]}, commit {commit[:12]}{'-dirty' if commit.endswith('-dirty') else ''}, "
        f"fingerprint {identity['fingerprint']}"
    )


@dataclass(frozen=True)
class Certificate:
    """Answer of `lmc reproduce`.

    `first` is the first of all differences, causes before effects; `likely` names possible reasons of it, likeliest
    first.
    """

    identical: bool
    first: Finding | None
    kind: str
    run_id: str
    trainings: tuple[Comparison, ...]
    path: Comparison | None
    likely: tuple[str, ...]
    trained: int
    seconds: float

    def lines(self) -> Iterator[str]:
        """Yield the certificate for people: a block per training, one for the path, and the answer at the end."""
        for comparison in filter(None, (*self.trainings, self.path)):
            yield from comparison.lines()
        yield f"trained {self.trained} in {self.seconds:.0f} s"
        if self.identical:
            yield "identical: every recorded bit was made again"
            return
        first, *others = _ranked(self.trainings, self.path)
        yield f"differs: {first.text}"
        yield from (f"  also: {finding.text}" for finding in others[:4])
        if len(others) > 4:
            yield f"  and {len(others) - 4} more; --json lists all"
        yield from (f"likely: {reason}" for reason in self.likely)


def _ranked(trainings: Sequence[Comparison], path: Comparison | None) -> list[Finding]:
    compared = (*trainings, path) if path else trainings
    return sorted((f for one in compared for f in one.findings), key=lambda finding: finding.rank)


def reproduce(reader: Reader, run: StoredRun, project: Project, fresh: Path, listener: Listener) -> Certificate:
    """Train a run, or both runs of a pair, again below `fresh`, an empty folder, and compare every recorded bit.

    Neither reads nor writes the project's runs/ and its working store.

    Raises:
        LmcError: It cannot be tried: a run of another kind or one that is not finished, or data that are not prepared.
    """
    begun, tags = time.monotonic(), versions() | git_commit(project.root)
    ids = _ends(reader, run) if run.kind == "pair" else [run.run_id]
    unique = list(dict.fromkeys(ids))  # a pair may be of one run
    records = [RecordedTraining.find(reader, run_id) for run_id in unique]
    recorded = _stored_path(reader, run) if run.kind == "pair" else {}
    prepared = prepared_dir(project, [records[0].end.config.data.dataset])
    folders = _train(records, fresh, prepared, listener)
    trainings, path = tuple(_compare(r, folder, tags) for r, folder in zip(records, folders, strict=True)), None
    if run.kind == "pair":
        points = sum(key.startswith("alpha ") for key in recorded)
        made = dict(zip(unique, folders, strict=True))
        ends = PairEnd.of(made[ids[0]]), PairEnd.of(made[ids[1]])
        a, b = json.loads(run.params.get(names.PAIR_EPOCHS, json.dumps(COMMON)))
        result = measure_pair(pair_task("again", ends, prepared, points, path=path_of(run), epochs=(a, b)))
        path = _compare_path(reader, run, recorded, result)
    likely: tuple[str, ...] = ()
    if findings := _ranked(trainings, path):
        owner = next((training for training in trainings if findings[0] in training.findings), trainings[0])
        likely = likely_reasons(findings[0], owner.recorded or {}, owner.here or {})
    first, seconds = findings[0] if findings else None, time.monotonic() - begun
    return Certificate(first is None, first, run.kind, run.run_id, trainings, path, likely, len(records), seconds)


def _ends(reader: Reader, run: StoredRun) -> list[str]:
    """Return the ids of a pair's two finished trainings."""
    if not run.finished:
        raise LmcError(f"run {run.run_id} is {run.status}: nothing complete to compare with; compare the study again")
    family = (other for other in reader.siblings(run) if other.kind == "train" and other.finished)
    trainings = {other.tags.get(names.FINGERPRINT): other.run_id for other in family}
    ends = [run.tags.get(f"lmc.fingerprint_{i}") for i in (0, 1)]
    for end in ends:
        if end not in trainings:
            raise LmcError(f"run {run.run_id}: its training {end} is not in {reader.uri}; compare the study again")
    return [trainings[end] for end in ends]


def _train(records: Sequence[RecordedTraining], fresh: Path, prepared: Path, listener: Listener) -> list[RunFolder]:
    """Train all records from nothing and return their complete folders."""
    on_gpu = str(records[0].run.status["numerics"]).startswith("cuda:")  # on a GPU only what a GPU trained
    device = resolve_device("auto" if on_gpu else "cpu")
    tag = numerics_tag(device, {record.end.config.precision for record in records})
    work, jobs = [], default_jobs(device)
    for record in records:
        info, config = dataset_info(record.end.config.data.dataset), record.end.config
        identity = data_identity(info, str(require_ready(prepared, info.name).get("digest")))
        fingerprint = run_fingerprint(config, identity, tag)
        if fingerprint != (was := record.end.fingerprint):
            listener.line(f"fingerprint {fingerprint}, recorded {was}: other conditions than recorded")
        assert not (fresh / fingerprint).exists()
        work.append(QueuedRun(fingerprint, config, "resident"))  # both loaders give the same bits

    def on_event(event: Event) -> None:
        if event.kind == "epoch":
            listener.advance(len(event.fingerprints))

    with part(listener, f"training {counted(len(work), 'run')} again", sum(item.config.epochs for item in work)):
        run_stacks(LocalEngine(jobs), plan_stacks(work, jobs, fresh, prepared, tag, device), on_event)
    for lock in fresh.glob("*.lock*"):
        lock.unlink()
    return [RunFolder(fresh / item.fingerprint) for item in work]


def _compare(record: RecordedTraining, folder: RunFolder, tags: Mapping[str, str]) -> Comparison:
    """Compare a recorded training with its second making; `tags` are those of this process."""

    def identity(fingerprint: str, said: Mapping[str, Any]) -> Identity:
        parts = {part: str(said[key]) if key in said else None for part, (_, key) in PARTS.items()}
        return {"fingerprint": fingerprint, **parts}

    tally, run = compare_training(record, folder), record.stored
    recorded = identity(record.end.fingerprint, {**run.tags, **record.run.status})
    here = identity(folder.fingerprint, {**tags, **folder.status()})
    return Comparison(run.run_id, record.name, tally.checks, tally.findings, recorded, here)


def compare_training(record: RecordedTraining, again: RunFolder) -> Tally:
    """Compare a recorded training with `again`, the complete folder of its second making.

    Both status.json hold the sha256 of every file: equal ones mean equal files; otherwise the files show why.
    """
    tally, recorded, made, epochs = Tally(), record.run.status, again.status(), record.checkpoints
    stored = "stored in MLflow"
    intact = {name for name in record.kept if tally.add(stored, record.damage(name), epoch=epochs.get(name))}
    tally.add(stored, record.shown_otherwise())
    for name, key, where in KEYS:
        there, here = recorded.get(key), made.get(key)
        tally.count(name, there == here is not None, int((there, here) != (None, None)))
        if there != here and where != "init":  # the tensors below show differing initial weights
            at = max(there or 0, here or 0) if key == "diverged_epoch" else None
            tally.find(f"{name}: {str(here)[:12]}, recorded {str(there)[:12]}", where, at)
    files = {name: pair for name, *pair in differences(recorded["files"], made["files"])}
    tally.count("checkpoints", sum(name not in files for name in epochs), len(epochs))
    tally.count("metrics.csv", "metrics.csv" not in files)
    files.pop("config.json", None)  # a later version may write more settings, of the same fingerprint
    for name, (there, here) in files.items():
        metrics, difference = name == "metrics.csv", f"sha256 {str(here)[:12]}, recorded {str(there)[:12]}"
        if there is None or here is None:
            difference = "not made here" if here is None else "not recorded, made here"
        elif name in intact:
            contents = record.file(name)[1], (again.path / name).read_bytes()
            difference = explain(name, *contents) if metrics else tensor_difference(*map(load, contents))
        if metrics:
            epoch = float(difference.split(",")[0].split()[1]) if difference.startswith("epoch ") else None
            tally.find(f"{name}: {difference}", "training", epoch)
        else:
            epoch = parse_epoch(name.removeprefix("checkpoints/epoch-").removesuffix(".safetensors"))
            tally.find(f"weights at epoch {epoch:g}: {difference}", "init" if epoch == 0 else "training", epoch)
    return tally


def tensor_difference(recorded: dict[str, Tensor], made: dict[str, Tensor]) -> str:
    """Return the first tensor, by name, that has other bits, in how many entries, and by how much at most."""
    if recorded.keys() != made.keys():
        return f"tensors {', '.join(sorted(made))}; recorded {', '.join(sorted(recorded))}"
    apart = []
    for name in sorted(recorded):
        a, b = recorded[name], made[name]
        if a.shape != b.shape:
            return f"{name} has shape {list(b.shape)}, recorded {list(a.shape)}"
        other = a.contiguous().view(torch.int32) != b.contiguous().view(torch.int32)  # bits: NaN equals itself
        if other.any():
            largest = (a.double() - b.double())[other].abs().nan_to_num(float("inf")).max().item()
            apart.append(f"{name} differs in {int(other.sum())} of {a.numel()} entries, by up to {largest:.3g}")
    if not apart:
        return "equal tensors in another file"
    return apart[0] + (f"; {len(apart)} of {len(recorded)} tensors differ" if len(apart) > 1 else "")


def path_of(run: StoredRun) -> PathConfig:
    """Return how the path of a pair was made, from its parameters."""
    given = {name: run.params.get(f"path.{name}") for name in PathConfig.model_fields}
    read = {"metrics": json.loads, "layers": json.loads}
    values = {name: read.get(name, str)(text) for name, text in given.items() if text is not None}
    return validate(PathConfig, values, f"run {run.run_id}: path")


def _stored_path(reader: Reader, run: StoredRun) -> dict[str, Any]:
    """Return the values of a pair's path.json by column and alpha."""
    try:
        found = values(TABLE, reader.artifact(run, TABLE)[1])
        if sum(key.startswith("alpha ") for key in found) < 2:
            raise ValueError("fewer than two points")
        return found
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise LmcError(f"run {run.run_id}: {TABLE}: not the table of a path ({error}); {REBUILD}") from None


def _compare_path(reader: Reader, run: StoredRun, recorded: dict[str, Any], result: PairResult) -> Comparison:
    """Compare a pair's stored path and numbers with those of the path between the weights made again."""
    tally = Tally()
    for key, here in values(TABLE, path_table(result.final)).items():
        kind = "error counts" if "_wrong at" in key else "losses" if "_loss at" in key else None
        if kind is not None:
            there = recorded.get(key)
            tally.add(kind, None if there == here else f"{key}: {here}, recorded {there}", "path")
    if (made := pair_tables(result).get(PERMUTATIONS)) is not None:
        place, content = reader.artifact(run, PERMUTATIONS)
        problem = None if content == made else f"{place}: {explain(PERMUTATIONS, content, made)}"
        tally.add("permutations", problem, "path")
    expected = {(point.name, point.step): point.value for point in pair_points(result)}
    for (name, step), there in sorted(logged_points(reader, run, run.metrics).items()):
        here = expected.get((name, step))
        line = f"metric {name} at step {step} of run {run.run_id}: {here}, recorded {there}"
        tally.add("numbers in MLflow", None if there == here else line, "path")
    return Comparison(run.run_id, run.tags.get("mlflow.runName", run.run_id), tally.checks, tally.findings)
