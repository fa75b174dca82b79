"""Trains a run again from what MLflow holds alone, in a fresh folder, and compares every recorded bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.pair import PairTask
from lmc_repro.compare.work import measure_pair
from lmc_repro.data.catalog import dataset_info
from lmc_repro.data.status import Status, read_status, require_ready
from lmc_repro.errors import LmcError
from lmc_repro.execution.planner import Work, plan_stacks
from lmc_repro.execution.pool import default_jobs, map_tasks, run_stacks
from lmc_repro.numerics import numerics_tag
from lmc_repro.project import Project
from lmc_repro.schemas.base import mark_text
from lmc_repro.studies.workspace import Listener
from lmc_repro.tracking import names
from lmc_repro.tracking.reader import Reader
from lmc_repro.tracking.stored_run import StoredRun
from lmc_repro.training.checkpoint import verified
from lmc_repro.training.event import Event
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.verification.certificate import Certificate, Proof, TrainingProof
from lmc_repro.verification.identity import identity_here, recorded_identity
from lmc_repro.verification.path import compare_path, read_path
from lmc_repro.verification.reasons import likely_reasons
from lmc_repro.verification.record import Record, read_record
from lmc_repro.verification.training import compare_training


@dataclass(frozen=True)
class Place:
    """Where runs are made again: `fresh` is an empty folder, `prepared` holds the data set."""

    project: Project
    fresh: Path
    prepared: Path
    status: Status
    device: str

    @property
    def tag(self) -> str:
        return numerics_tag(self.device)


def reproduce(reader: Reader, run: StoredRun, project: Project, fresh: Path, listener: Listener) -> Certificate:
    """Make a training, or both trainings and the path of a pair, again below `fresh`, an empty folder.

    Neither the project's runs/ nor its working store is read or written. LmcError if it cannot be tried: a run of
    another kind or one that is not finished, or data that are not prepared.
    """
    begun = time.monotonic()
    ids = [run.run_id] if run.tags.get(names.KIND) != "pair" else _ends(reader, run)
    records = [read_record(reader, run_id) for run_id in ids]
    path = read_path(reader, run) if len(ids) == 2 else None
    place = _place(project, records[0], fresh)
    folders = _train(records, place, listener)
    trainings = tuple(_prove(reader, r, folder, place) for r, folder in zip(records, folders, strict=True))
    proof = None
    if path is not None:
        result = _measure(records, folders, len(path["alpha"]), place)
        checks, findings = compare_path(reader, run, path, result)
        proof = Proof(run.run_id, run.tags.get("mlflow.runName", run.run_id), tuple(checks), tuple(findings))
    seconds = time.monotonic() - begun
    made = Certificate("pair" if path else "train", run.run_id, trainings, proof, (), len(records), 0, seconds)
    if made.identical:
        return made
    first = made.findings[0]
    owner = next((t for t in trainings if first in t.findings), trainings[0])
    likely = likely_reasons(first, owner.recorded, owner.here)
    return Certificate(made.kind, run.run_id, trainings, proof, likely, made.trained, made.reused, seconds)


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


def _place(project: Project, record: Record, fresh: Path) -> Place:
    name = record.end.config.data.dataset
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
    return Place(project, fresh, prepared, status, _device(record))


def _device(record: Record) -> str:
    """Return where the run is made again: on a GPU only what a GPU made."""
    if not str(record.status["numerics"]).startswith("cuda:"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _train(records: Sequence[Record], place: Place, listener: Listener) -> list[RunFolder]:
    """Train all records from nothing and return their complete folders."""
    folders, work = [], []
    for record in records:
        config, digest = record.end.config, str(place.status.get("digest"))
        data = data_identity(dataset_info(config.data.dataset), digest)
        fingerprint = run_fingerprint(config, data, place.tag)
        if fingerprint != record.end.run.fingerprint:
            apart = recorded_identity(record.status, record.stored.tags).differences(
                identity_here(place.tag, digest, place.project.root)
            )
            told = ", ".join(f"{name} {a} and {b}" for name, (a, b) in apart.items() if name != "commit")
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

    listener.begin(f"training {len(work)} runs again", sum(item.config.epochs for item in work))
    try:
        run_stacks(tasks, jobs, on_event)
    finally:
        listener.end()
    for lock in place.fresh.glob("*.lock*"):
        lock.unlink()
    return folders


def _prove(reader: Reader, record: Record, folder: RunFolder, place: Place) -> TrainingProof:
    checks, findings = compare_training(reader, record, folder)
    return TrainingProof(
        record.stored.run_id,
        record.end.name,
        tuple(checks),
        tuple(findings),
        (record.end.run.fingerprint, folder.fingerprint),
        recorded_identity(record.status, record.stored.tags),
        identity_here(place.tag, str(place.status.get("digest")), place.project.root),
    )


def _measure(records: Sequence[Record], folders: Sequence[RunFolder], points: int, place: Place) -> PairResult:
    """Measure the path between the weights made again."""
    first, second = folders
    statuses = [folder.status() for folder in folders]
    config = records[0].end.config
    weights = {}
    for mark in config.evaluate_at:
        shas = [status["checkpoints"] for status in statuses]
        a, b = (
            verified(folder.checkpoint(mark), sha[mark_text(mark)], folder.fix)
            for folder, sha in zip(folders, shas, strict=True)
        )
        weights[mark] = (a, b)
    task = PairTask(
        pair="again",
        trainer_seed=config.seeds.trainer,
        fingerprints=(first.fingerprint, second.fingerprint),
        diverged=(statuses[0]["diverged_epoch"], statuses[1]["diverged_epoch"]),
        weights=weights,
        model=config.model,
        data=config.data,
        prepared=place.prepared,
        points=points,
    )
    return next(map_tasks(measure_pair, [task], 1))
