"""Trains a run again from MLflow's record alone, in a fresh folder, and compares every recorded bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.pair import PairTask
from lmc_repro.compare.two_runs import find_end
from lmc_repro.compare.work import measure_pair
from lmc_repro.data.catalog import dataset_info
from lmc_repro.data.status import read_status, require_ready
from lmc_repro.errors import LmcError
from lmc_repro.execution.planner import Work, plan_stacks
from lmc_repro.execution.pool import default_jobs, map_tasks, run_stacks
from lmc_repro.numerics import numerics_tag
from lmc_repro.progress import part
from lmc_repro.project import Project
from lmc_repro.schemas.base import mark_text
from lmc_repro.studies.workspace import Listener
from lmc_repro.tracking import names
from lmc_repro.tracking.content import TABLE, pair_points, path_table
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.checkpoint import Checkpoint, verified
from lmc_repro.training.event import Event
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.verification.certificate import Certificate, Comparison, TrainingComparison
from lmc_repro.verification.differences import Check, Finding, differences, table_values
from lmc_repro.verification.identity import Identity, identity_here, likely_reasons, recorded_identity
from lmc_repro.verification.training import StoredTraining, compare_training, stored_points


@dataclass(frozen=True)
class Place:
    """Where and with what runs are made again: below `fresh`, an empty folder, from the data in `prepared`."""

    fresh: Path
    prepared: Path
    digest: str
    device: str
    tag: str
    identity: Identity


def reproduce(reader: Reader, run: StoredRun, project: Project, fresh: Path, listener: Listener) -> Certificate:
    """Make a training, or both trainings and the path of a pair, again below `fresh`, an empty folder.

    Neither the project's runs/ nor its working store is read or written.

    Raises:
        LmcError: It cannot be tried: a run of another kind or one that is not finished, or data that are not prepared.
    """
    begun = time.monotonic()
    kind: Literal["train", "pair"] = "pair" if run.tags.get(names.KIND) == "pair" else "train"
    ids = _ends(reader, run) if kind == "pair" else [run.run_id]
    records = [StoredTraining(reader, reader.run(run_id), find_end(reader, run_id).run) for run_id in ids]
    path = _stored_path(reader, run) if kind == "pair" else None
    place = _place(project, records[0], fresh)
    folders = _train(records, place, listener)
    trainings = tuple(_compare(r, folder, place) for r, folder in zip(records, folders, strict=True))
    compared = None
    if path is not None:
        points = sum(key.startswith("alpha ") for key in path)
        compared = _compare_path(reader, run, path, _measure(records, folders, points, place))
    certificate = Certificate(kind, run.run_id, trainings, compared, (), len(records), time.monotonic() - begun)
    if certificate.identical:
        return certificate
    first = certificate.findings[0]
    owner = next((training for training in trainings if first in training.findings), trainings[0])
    return replace(certificate, likely=likely_reasons(first, owner.recorded, owner.here))


def _ends(reader: Reader, run: StoredRun) -> list[str]:
    """Return the ids of the two finished trainings that a pair's run is about."""
    if not run.finished:
        raise LmcError(f"run {run.run_id} is {run.status}: nothing complete to compare with; compare the study again")
    trainings = {
        other.tags.get(names.FINGERPRINT): other.run_id
        for other in reader.siblings(run)
        if other.tags.get(names.KIND) == "train" and other.finished
    }
    found = []
    for i in (0, 1):
        wanted = run.tags.get(f"lmc.fingerprint_{i}")
        if wanted not in trainings:
            raise LmcError(f"run {run.run_id}: its training {wanted} is not in {reader.uri}; compare the study again")
        found.append(trainings[wanted])
    return found


def _place(project: Project, record: StoredTraining, fresh: Path) -> Place:
    name = record.config.data.dataset
    dataset_info(name)
    ready = [
        (folder, status)
        for folder in (project.prepared, project.working / "prepared")
        if (status := read_status(folder, name)) is not None and status["state"] == "ready"
    ]
    if not ready:
        require_ready(project.prepared, name)
    wanted = record.status["data_digest"]
    prepared, status = next(((f, s) for f, s in ready if s.get("digest") == wanted), ready[0])
    digest, device = str(status.get("digest")), _device(record)
    tag = numerics_tag(device)
    return Place(fresh, prepared, digest, device, tag, identity_here(tag, digest, project.root))


def _device(record: StoredTraining) -> str:
    """Return where the run is made again: on a GPU only what a GPU made."""
    if not str(record.status["numerics"]).startswith("cuda:"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _train(records: Sequence[StoredTraining], place: Place, listener: Listener) -> list[RunFolder]:
    """Train all records from nothing and return their complete folders."""
    folders, work = [], []
    for record in records:
        config = record.config
        fingerprint = run_fingerprint(config, data_identity(dataset_info(config.data.dataset), place.digest), place.tag)
        if fingerprint != record.run.fingerprint:
            apart = differences(recorded_identity(record.status, record.stored.tags), place.identity)
            told = ", ".join(f"{name} {a} and {b}" for name, a, b in apart if name != "commit")
            listener.line(f"not the same conditions as recorded ({told or 'another fingerprint'}): tried all the same")
        folder = RunFolder(place.fresh / fingerprint)
        assert not folder.path.exists()
        folders.append(folder)
        work.append(Work(fingerprint, config, "resident"))  # both loaders give the same bits
    jobs = default_jobs()
    tasks = plan_stacks(work, jobs, place.fresh, place.prepared, place.tag, place.device)

    def on_event(event: Event) -> None:
        if event.kind == "epoch":
            listener.advance(len(event.fingerprints))

    with part(listener, f"training {len(work)} runs again", sum(item.config.epochs for item in work)):
        run_stacks(tasks, jobs, on_event)
    for lock in place.fresh.glob("*.lock*"):
        lock.unlink()
    return folders


def _compare(record: StoredTraining, folder: RunFolder, place: Place) -> TrainingComparison:
    checks, findings = compare_training(record, folder)
    return TrainingComparison(
        record.stored.run_id,
        record.name,
        tuple(checks),
        tuple(findings),
        (record.run.fingerprint, folder.fingerprint),
        recorded_identity(record.status, record.stored.tags),
        place.identity,
    )


def _measure(records: Sequence[StoredTraining], folders: Sequence[RunFolder], points: int, place: Place) -> PairResult:
    """Measure the path between the weights made again."""
    (first, second), config = folders, records[0].config

    def weights(folder: RunFolder, epoch: float) -> Checkpoint:
        return verified(folder.checkpoint(epoch), folder.status()["checkpoints"][mark_text(epoch)], folder.fix)

    task = PairTask(
        pair="again",
        trainer_seed=config.seeds.trainer,
        fingerprints=(first.fingerprint, second.fingerprint),
        diverged=(first.status()["diverged_epoch"], second.status()["diverged_epoch"]),
        weights={epoch: (weights(first, epoch), weights(second, epoch)) for epoch in config.evaluate_at},
        model=config.model,
        data=config.data,
        prepared=place.prepared,
        points=points,
    )
    return next(map_tasks(measure_pair, [task], 1))


def _stored_path(reader: Reader, run: StoredRun) -> dict[str, Any]:
    """Return the values of a pair's path.json by column and alpha."""
    _, content = reader.artifact(run, TABLE)
    try:
        values = table_values(content)
        if sum(key.startswith("alpha ") for key in values) < 2:
            raise ValueError("fewer than two points")
        return values
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise LmcError(f"run {run.run_id}: {TABLE}: not the table of a path ({error}); {REBUILD}") from None


def _compare_path(reader: Reader, run: StoredRun, recorded: dict[str, Any], result: PairResult) -> Comparison:
    """Compare a pair's stored path and numbers with those of the path between the weights made again."""
    made = table_values(path_table(result.final))
    checks, findings = [], []
    for name, column in (("error counts", "_wrong at"), ("losses", "_loss at")):
        there, here = ({key: v for key, v in values.items() if column in key} for values in (recorded, made))
        apart = [Finding("path", f"{key}: {b}, recorded {a}") for key, a, b in differences(there, here)]
        checks.append(Check(name, len(here) - len(apart), len(here)))
        findings += apart
    logged = stored_points(reader, run, run.metrics)
    expected = {(point.name, point.step): point.value for point in pair_points(result)}
    apart = [
        Finding("path", f"metric {name} at step {step} of run {run.run_id}: {here}, recorded {there}")
        for (name, step), there, here in sorted(differences(logged, expected))
        if there is not None
    ]
    checks.append(Check("numbers in MLflow", len(logged) - len(apart), len(logged)))
    return Comparison(run.run_id, run.tags.get("mlflow.runName", run.run_id), tuple(checks), tuple(findings + apart))
