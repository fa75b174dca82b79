"""Trains a run again from MLflow's record alone, in a fresh folder, and compares every recorded bit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.measure import measure_pair
from lmc_repro.barriers.pair import PairEnd, pair_task
from lmc_repro.barriers.results import PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.progress import part
from lmc_repro.common.project import Project
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import validate
from lmc_repro.config.path import PathConfig
from lmc_repro.config.plan import COMMON
from lmc_repro.data.status import require_ready
from lmc_repro.engine.local import LocalEngine, default_jobs
from lmc_repro.engine.protocol import run_stacks
from lmc_repro.engine.stacks import Work, plan_stacks
from lmc_repro.notebook.compare_runs import find_end
from lmc_repro.pipeline.workspace import Listener, prepared_dir
from lmc_repro.tracking import names
from lmc_repro.tracking.content import TABLE, git_commit, pair_points, path_table, versions
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event
from lmc_repro.verification.differences import Check, Finding, Tally, values
from lmc_repro.verification.identity import Identity, identity_line, likely_reasons, training_identity
from lmc_repro.verification.training import StoredTraining, compare_training, logged_points


@dataclass(frozen=True)
class Comparison:
    """A training, or the path of a pair, compared with its second making; identities of trainings alone."""

    run_id: str
    name: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    recorded: Identity | None = None
    here: Identity | None = None

    def lines(self) -> list[str]:
        """Return the comparison for people."""
        lines = [f"{'training' if self.recorded else 'path'} {self.name}, run {self.run_id}"]
        if self.recorded and self.here:
            there, here = identity_line(self.recorded), identity_line(self.here)
            lines += [f"  recorded: {there}", f"  here:     {'the same' if here == there else here}"]
        for check in self.checks:
            state = f"{check.equal} of {check.total} identical" if check.total else "none recorded"
            lines.append(f"  {check.name:<18} {state}" + ("" if check.equal == check.total else "  DIFFERS"))
        return lines


@dataclass(frozen=True)
class Certificate:
    """Answer of `lmc reproduce`. `likely` names possible reasons of the first difference, likeliest first."""

    kind: str
    run_id: str
    trainings: tuple[Comparison, ...]
    path: Comparison | None
    likely: tuple[str, ...]
    trained: int
    seconds: float

    @property
    def findings(self) -> list[Finding]:
        """All differences, causes before effects."""
        return _ranked(self.trainings, self.path)

    @property
    def identical(self) -> bool:
        return not self.findings

    def record(self) -> dict[str, Any]:
        """Return the certificate for JSON."""
        first = asdict(self.findings[0]) if self.findings else None
        return {"identical": self.identical, "first": first, **asdict(self)}

    def lines(self) -> list[str]:
        """Return the certificate for people: a block per training, one for the path, and the answer at the end."""
        lines = [line for one in (*self.trainings, self.path) if one for line in one.lines()]
        lines.append(f"trained {self.trained} in {self.seconds:.0f} s")
        if self.identical:
            return [*lines, "identical: every recorded bit was made again"]
        first, *others = self.findings
        lines += [f"differs: {first.text}", *(f"  also: {finding.text}" for finding in others[:4])]
        if len(others) > 4:
            lines.append(f"  and {len(others) - 4} more; --json lists all")
        return lines + [f"likely: {reason}" for reason in self.likely]


def _ranked(trainings: Sequence[Comparison], path: Comparison | None) -> list[Finding]:
    return sorted((f for one in (*trainings, path) if one for f in one.findings), key=lambda finding: finding.rank)


def reproduce(reader: Reader, run: StoredRun, project: Project, fresh: Path, listener: Listener) -> Certificate:
    """Train a run, or both runs of a pair, again below `fresh`, an empty folder, and compare every recorded bit.

    Neither reads nor writes the project's runs/ and its working store.

    Raises:
        LmcError: It cannot be tried: a run of another kind or one that is not finished, or data that are not prepared.
    """
    begun = time.monotonic()
    kind = "pair" if run.tags.get(names.KIND) == "pair" else "train"
    ids = _ends(reader, run) if kind == "pair" else [run.run_id]
    unique = list(dict.fromkeys(ids))  # a pair may be of one run
    records = [StoredTraining(reader, reader.run(run_id), find_end(reader, run_id).run) for run_id in unique]
    recorded = _stored_path(reader, run) if kind == "pair" else {}
    prepared = prepared_dir(project, [records[0].config.data.dataset])
    folders = _train(records, fresh, prepared, listener)
    tags = versions() | git_commit(project.root)
    trainings, path = tuple(_compare(r, folder, tags) for r, folder in zip(records, folders, strict=True)), None
    if kind == "pair":
        points = sum(key.startswith("alpha ") for key in recorded)
        made = dict(zip(unique, folders, strict=True))
        path = _compare_path(reader, run, recorded, _measure(run, [made[end] for end in ids], points, prepared))
    likely: tuple[str, ...] = ()
    if findings := _ranked(trainings, path):
        owner = next((training for training in trainings if findings[0] in training.findings), trainings[0])
        likely = likely_reasons(findings[0], owner.recorded or {}, owner.here or {})
    return Certificate(kind, run.run_id, trainings, path, likely, len(records), time.monotonic() - begun)


def _ends(reader: Reader, run: StoredRun) -> list[str]:
    """Return the ids of a pair's two finished trainings."""
    if not run.finished:
        raise LmcError(f"run {run.run_id} is {run.status}: nothing complete to compare with; compare the study again")
    trainings = {
        other.tags.get(names.FINGERPRINT): other.run_id
        for other in reader.siblings(run)
        if other.tags.get(names.KIND) == "train" and other.finished
    }
    ends = [run.tags.get(f"lmc.fingerprint_{i}") for i in (0, 1)]
    for end in ends:
        if end not in trainings:
            raise LmcError(f"run {run.run_id}: its training {end} is not in {reader.uri}; compare the study again")
    return [trainings[end] for end in ends]


def _train(records: Sequence[StoredTraining], fresh: Path, prepared: Path, listener: Listener) -> list[RunFolder]:
    """Train all records from nothing and return their complete folders."""
    device = "cpu"
    if str(records[0].status["numerics"]).startswith("cuda:"):  # on a GPU only what a GPU trained
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    tag, work = numerics_tag(device), []
    for record in records:
        info = dataset_info(record.config.data.dataset)
        identity = data_identity(info, str(require_ready(prepared, info.name).get("digest")))
        fingerprint = run_fingerprint(record.config, identity, tag)
        if fingerprint != (was := record.run.fingerprint):
            listener.line(f"fingerprint {fingerprint}, recorded {was}: other conditions than recorded")
        assert not (fresh / fingerprint).exists()
        work.append(Work(fingerprint, record.config, "resident"))  # both loaders give the same bits
    jobs = default_jobs()

    def on_event(event: Event) -> None:
        if event.kind == "epoch":
            listener.advance(len(event.fingerprints))

    with part(listener, f"training {len(work)} runs again", sum(item.config.epochs for item in work)):
        run_stacks(LocalEngine(jobs), plan_stacks(work, jobs, fresh, prepared, tag, device), on_event)
    for lock in fresh.glob("*.lock*"):
        lock.unlink()
    return [RunFolder(fresh / item.fingerprint) for item in work]


def _compare(record: StoredTraining, folder: RunFolder, tags: Mapping[str, str]) -> Comparison:
    tally = compare_training(record, folder)
    return Comparison(
        record.stored.run_id,
        record.name,
        tally.checks,
        tally.findings,
        training_identity(record.run.fingerprint, record.status, record.stored.tags),
        training_identity(folder.fingerprint, folder.status(), tags),
    )


def path_of(run: StoredRun) -> PathConfig:
    """Return how the path of a pair was made, from its parameters."""
    given = {name: run.params.get(f"path.{name}") for name in PathConfig.model_fields}
    values = {name: json.loads(text) if name == "metrics" else text for name, text in given.items() if text is not None}
    return validate(PathConfig, values, f"run {run.run_id}: path")


def _measure(run: StoredRun, folders: Sequence[RunFolder], points: int, prepared: Path) -> PairResult:
    """Measure the path of a pair between the weights made again."""
    first, second = map(PairEnd.of, folders)
    a, b = json.loads(run.params.get(names.PAIR_EPOCHS, json.dumps(COMMON)))
    task = pair_task("again", (first, second), prepared, points, path=path_of(run), epochs=(a, b))
    return next(LocalEngine(1).map(measure_pair, [task]))


def _stored_path(reader: Reader, run: StoredRun) -> dict[str, Any]:
    """Return the values of a pair's path.json by column and alpha."""
    _, content = reader.artifact(run, TABLE)
    try:
        found = values(TABLE, content)
        if sum(key.startswith("alpha ") for key in found) < 2:
            raise ValueError("fewer than two points")
        return found
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise LmcError(f"run {run.run_id}: {TABLE}: not the table of a path ({error}); {REBUILD}") from None


def _compare_path(reader: Reader, run: StoredRun, recorded: dict[str, Any], result: PairResult) -> Comparison:
    """Compare a pair's stored path and numbers with those of the path between the weights made again."""
    tally, made = Tally(), values(TABLE, path_table(result.final))
    for key, here in made.items():
        kind = "error counts" if "_wrong at" in key else "losses" if "_loss at" in key else None
        if kind is not None:
            there = recorded.get(key)
            tally.add(kind, None if there == here else f"{key}: {here}, recorded {there}", "path")
    expected = {(point.name, point.step): point.value for point in pair_points(result)}
    for (name, step), there in sorted(logged_points(reader, run, run.metrics).items()):
        here = expected.get((name, step))
        told = f"metric {name} at step {step} of run {run.run_id}: {here}, recorded {there}"
        tally.add("numbers in MLflow", None if there == here else told, "path")
    return Comparison(run.run_id, run.tags.get("mlflow.runName", run.run_id), tally.checks, tally.findings)
