"""What MLflow holds of a training, read once, and whether it still is what was recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.compare.two_runs import End, find_end
from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes
from lmc_repro.schemas.base import mark_text, parse_mark
from lmc_repro.tracking.failures import REBUILD
from lmc_repro.tracking.reader import Reader
from lmc_repro.tracking.stored_run import StoredRun
from lmc_repro.tracking.trains import METRICS, training_points
from lmc_repro.training.run_folder import MetricRow, RunFolder, checkpoint_name
from lmc_repro.verification.certificate import Check, Finding
from lmc_repro.verification.points import by_step, first_difference, stored_points

TAGGED = ("init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")


@dataclass(frozen=True)
class Record:
    """A finished training in MLflow: its run, its config, its status.json and the rows of its metrics.csv."""

    stored: StoredRun
    end: End
    rows: list[MetricRow]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]

    @property
    def status(self) -> Mapping[str, Any]:
        return self.end.run.status

    @property
    def marks(self) -> list[float]:
        return sorted(map(parse_mark, self.status["checkpoints"]))

    def sha256(self, mark: float) -> str:
        """Return the recorded sha256 of the weights at a mark."""
        return str(self.status["checkpoints"][mark_text(mark)])


def read_record(reader: Reader, run_id: str) -> Record:
    """Return a training by its run's id, with all that is damaged in MLflow's copy of it.

    LmcError if it is no finished training, or has no config.json, status.json or metrics.csv that can be read: then
    there is nothing to compare with.
    """
    end = find_end(reader, run_id)
    stored = reader.run(run_id)
    place, content = reader.artifact(stored, "metrics.csv")
    rows = _metrics(place, content)
    record = Record(stored, end, rows, (), ())
    findings = [*_damage(reader, record), *_other_points(reader, record)]
    wrong = len(findings)
    total = len(record.marks) + 4  # config.json, metrics.csv, status.json and the points of the run
    return Record(stored, end, rows, tuple(findings), (Check("stored in MLflow", max(total - wrong, 0), total),))


def _metrics(place: str, content: bytes) -> list[MetricRow]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "metrics.csv").write_bytes(content)
        try:
            return RunFolder(Path(folder)).metrics()
        except LmcError:
            raise LmcError(f"{place}: not the metrics of a training; {REBUILD}") from None


def _damage(reader: Reader, record: Record) -> Iterator[Finding]:
    """Yield what of the stored files has another sha256 than status.json says, or status.json than the run's tags."""
    status, stored = record.status, record.stored
    for key in TAGGED:
        told = stored.tags.get(f"lmc.{key}")
        if told is not None and told != str(status.get(key)):
            place, _ = reader.artifact(stored, "status.json")
            yield Finding("stored", f"{place}: {key} {str(status.get(key))[:12]}, the run's tag says {told[:12]}")
            break
    files = status["files"]
    for name in ("config.json", "metrics.csv"):
        place, content = reader.artifact(stored, name)
        yield from _unlike(place, content, files[name], None)
    for mark in record.marks:
        try:
            path, content = reader.stored_checkpoint(record.end.run, mark)
        except LmcError as error:
            yield Finding("stored", str(error), mark)
            continue
        recorded = record.sha256(mark)
        if files.get(f"checkpoints/{checkpoint_name(mark)}") != recorded:
            yield Finding("stored", f"status.json of run {stored.run_id}: two checksums for epoch {mark:g}", mark)
        yield from _unlike(str(path), content, recorded, mark)


def _unlike(place: str, content: bytes, recorded: str, mark: float | None) -> Iterator[Finding]:
    if (found := sha256_bytes(content)) != recorded:
        yield Finding("stored", f"{place}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}", mark)


def _other_points(reader: Reader, record: Record) -> Iterator[Finding]:
    """Yield the first metric in MLflow whose points are not those of metrics.csv."""
    stored = stored_points(reader, record.stored, METRICS)
    if (apart := first_difference(stored, by_step(training_points(record.rows)))) is not None:
        name, step, there, made = apart
        told = f"metric {name} at step {step} is {there} in run {record.stored.run_id}, metrics.csv says {made}"
        yield Finding("stored", told, step)
