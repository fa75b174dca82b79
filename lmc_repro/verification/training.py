"""A training as MLflow holds it: its files against the checksums of its status.json, and against a second training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from lmc_repro.errors import LmcError
from lmc_repro.files import json_bytes, sha256_bytes
from lmc_repro.schemas.base import mark_text, parse_mark
from lmc_repro.tracking.failures import REBUILD
from lmc_repro.tracking.reader import Reader
from lmc_repro.tracking.stored_run import StoredRun
from lmc_repro.tracking.tracked import TrackedRun
from lmc_repro.tracking.trains import METRICS, training_points
from lmc_repro.training.run_folder import RunFolder, kept_marks, parse_metrics
from lmc_repro.verification.differences import (
    Check,
    Finding,
    Where,
    csv_rows,
    differences,
    first_difference,
    json_values,
)

TAGGED = ("init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")

STREAMS: tuple[tuple[str, str, Where], ...] = (
    ("initial weights", "init_sha256", "init"),
    ("order", "order_sha256", "order"),
    ("augmentation", "augmentation_sha256", "augmentation"),
)
"""Outputs of the three seeds: name, key of status.json, and where a difference lies."""

CONDITIONS = ("fingerprint", "numerics", "torch", "training_numerics", "stack", "kept", "data_digest")
"""Keys of status.json that say how the weights were made or stored; the identity of a training compares them."""

Points = dict[tuple[str, int], float]
"""Values by metric and step."""


@dataclass(frozen=True)
class StoredTraining:
    """A finished training in MLflow."""

    reader: Reader
    stored: StoredRun
    run: TrackedRun

    @property
    def status(self) -> Mapping[str, Any]:
        """Its status.json, which holds the sha256 of every other file."""
        return self.run.status

    @property
    def epochs(self) -> list[float]:
        """The evaluation epochs."""
        return sorted(map(parse_mark, self.status["checkpoints"]))

    def sha256(self, epoch: float) -> str:
        """Return the recorded sha256 of the weights at an evaluation epoch."""
        return str(self.status["checkpoints"][mark_text(epoch)])

    def file(self, name: str) -> tuple[str, bytes]:
        """Return the address and the content of config.json, metrics.csv or status.json."""
        return self.reader.artifact(self.stored, name)

    def weights(self, epoch: float) -> tuple[str, bytes]:
        """Return the address and the content of a checkpoint, compared with nothing."""
        path, content = self.reader.stored_checkpoint(self.run, epoch)
        return str(path), content

    def damaged_checkpoints(self) -> Iterator[tuple[float, str | None]]:
        """Yield each evaluation epoch whose weights were kept, and one line if MLflow's copy is not as recorded."""
        for epoch in kept_marks(self.status):
            try:
                yield epoch, _damage(*self.weights(epoch), self.sha256(epoch))
            except LmcError as error:
                yield epoch, str(error)

    def damaged_files(self) -> Iterator[str | None]:
        """Yield one line, or None, for status.json, config.json, metrics.csv and the points of the run."""
        place, content = self.file("status.json")
        tags = {key: self.stored.tags.get(f"lmc.{key}") for key in TAGGED}
        apart = [(key, tag) for key, tag in tags.items() if tag is not None and tag != str(self.status.get(key))]
        yield next((f"{place}: {key} {self.status.get(key)}, the run's tag says {tag}" for key, tag in apart), None)
        for name in ("config.json", "metrics.csv"):
            yield _damage(*self.file(name), self.status["files"][name])
        place, content = self.file("metrics.csv")
        try:
            rows = parse_metrics(content.decode("ascii"))
        except (ValueError, KeyError, TypeError):
            raise LmcError(f"{place}: not the metrics of a training; {REBUILD}") from None
        expected = {(point.name, point.step): point.value for point in training_points(rows)}
        yield points_problem(self.stored, stored_points(self.reader, self.stored, METRICS), expected)


def stored_points(reader: Reader, run: StoredRun, metrics: Any) -> Points:
    """Return all points of those metrics that the store has of a run."""
    return {(name, step): v for name, points in reader.history(run, metrics).items() for step, v in points}


def points_problem(run: StoredRun, stored: Points, expected: Points) -> str | None:
    """Return one line on the first point of a run that is not the one its files give, None if all are."""
    for (name, step), there, here in sorted(differences(stored, expected)):
        who = f"run {run.run_id} ({run.tags.get('mlflow.runName')})"
        return f"metric {name} at step {step} is {there} in {who}, its files give {here}; {REBUILD}"
    return None


def _damage(place: str, content: bytes, recorded: str) -> str | None:
    found = sha256_bytes(content)
    damaged = f"{place}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}; {REBUILD}"
    return None if found == recorded else damaged


def compare_training(record: StoredTraining, again: RunFolder) -> tuple[list[Check], list[Finding]]:
    """Compare a recorded training with `again`, the complete folder of its second making.

    Where both status.json are equal, so is every file that they hold the sha256 of; if not, the files explain why.
    """
    damaged = [Finding("stored", problem) for problem in record.damaged_files() if problem]
    damaged += [Finding("stored", problem, epoch) for epoch, problem in record.damaged_checkpoints() if problem]
    total = 4 + len(kept_marks(record.status))
    checks, findings = [Check("stored in MLflow", max(total - len(damaged), 0), total)], damaged
    recorded, made = record.status, again.status()
    if recorded["data_digest"] != made["data_digest"]:
        digests = f"recorded {recorded['data_digest'][:12]}, here {made['data_digest'][:12]}"
        findings.append(Finding("data", f"data digest: {digests}"))
    for name, key, where in STREAMS:
        there, here = recorded.get(key), made.get(key)
        exists = there is not None or here is not None
        checks.append(Check(name, int(exists and there == here), int(exists)))
        if there != here and where != "init":  # the tensors below tell of other initial weights
            findings.append(Finding(where, f"{name}: sha256 {str(here)[:12]}, recorded {str(there)[:12]}"))
    weights = [
        Finding("init" if epoch == 0 else "training", f"weights at epoch {epoch:g}: {told}", epoch)
        for epoch in record.epochs
        if (told := _weights_difference(record, again, epoch)) is not None
    ]
    checks.append(Check("checkpoints", len(record.epochs) - len(weights), len(record.epochs)))
    rows = csv_rows(record.file("metrics.csv")[1], ("epoch", "split"))
    apart = list(differences(rows, csv_rows((again.path / "metrics.csv").read_bytes(), ("epoch", "split"))))
    missing = [key for key, there, _ in apart if there is not None]
    checks.append(Check("metric rows", len(rows) - len(missing), len(rows)))
    findings += weights + [Finding("training", _row_text(*row), float(row[0][0])) for row in apart]
    if not findings:
        findings += _other_keys(recorded, made)
    return checks, findings


def _other_keys(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what of status.json differs though all files are equal: nobody but a hand can have written that."""
    there, here = (
        json_values(json_bytes({k: v for k, v in status.items() if k not in CONDITIONS})) for status in (recorded, made)
    )
    if there != here:
        yield Finding("stored", f"status.json: {first_difference(there, here)}")


def _weights_difference(record: StoredTraining, again: RunFolder, epoch: float) -> str | None:
    """Return how two checkpoints differ, by checksum where MLflow has no sound copy; None if they are equal."""
    made = again.status()["checkpoints"].get(mark_text(epoch))
    if made == record.sha256(epoch):
        return None
    if made is None:
        return "not made here"
    content = b""
    if epoch in kept_marks(record.status):
        with suppress(LmcError):
            _, content = record.weights(epoch)
    if sha256_bytes(content) != record.sha256(epoch):
        return f"sha256 {made[:12]}, recorded {record.sha256(epoch)[:12]} (MLflow has no sound copy)"
    return tensor_difference(load(content), load(again.checkpoint(epoch).read_bytes()))


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
            apart.append((name, int(other.sum()), a.numel(), largest))
    if not apart:
        return "equal tensors in another file"
    name, count, numel, largest = apart[0]
    more = f"; {len(apart)} of {len(recorded)} tensors differ" if len(apart) > 1 else ""
    return f"{name} differs in {count} of {numel} entries, by up to {largest:.3g}{more}"


def _row_text(key: tuple[str, ...], recorded: dict[str, str] | None, made: dict[str, str] | None) -> str:
    place = f"metrics.csv, epoch {key[0]}, {key[1]}"
    if recorded is None:
        return f"{place}: not recorded, made here"
    return f"{place}: not made here" if made is None else f"{place}: {first_difference(recorded, made)}"
