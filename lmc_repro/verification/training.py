"""A training as MLflow holds it: its files against the checksums of its status.json, and against a second training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes
from lmc_repro.schemas.base import parse_mark
from lmc_repro.schemas.load import validate
from lmc_repro.schemas.run import RunConfig
from lmc_repro.tracking.content import METRICS, Point, training_points
from lmc_repro.tracking.find import Reader, StoredRun, TrackedRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.run_folder import RunFolder, checkpoint_name, kept_marks, parse_metrics
from lmc_repro.verification.differences import Check, Finding, Where, csv_values, differences, first_difference

TAGGED = ("init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")

KEYS: tuple[tuple[str, str, Where], ...] = (
    ("data digest", "data_digest", "data"),
    ("initial weights", "init_sha256", "init"),
    ("order", "order_sha256", "order"),
    ("augmentation", "augmentation_sha256", "augmentation"),
    ("diverged epoch", "diverged_epoch", "training"),
)
"""What status.json says besides checksums of files: name, key, and where a difference lies."""

Points = dict[tuple[str, int], float]
"""Values by metric and step."""


@dataclass(frozen=True)
class StoredTraining:
    """A finished training in MLflow; its status.json holds the sha256 of every other file."""

    reader: Reader
    stored: StoredRun
    run: TrackedRun

    @property
    def status(self) -> Mapping[str, Any]:
        return self.run.status

    @property
    def name(self) -> str:
        return str(self.run.tags.get("mlflow.runName", self.run.run_id))

    @cached_property
    def config(self) -> RunConfig:
        """The recorded config; LmcError if it cannot be read."""
        read = self.reader.json_artifact(self.stored, "config.json")
        return validate(RunConfig, read, f"run {self.stored.run_id}: config.json")

    @property
    def checkpoints(self) -> dict[str, float]:
        """The evaluation epochs by the names of their files, those that were not kept included."""
        epochs = sorted(map(parse_mark, self.status["checkpoints"]))
        return {f"checkpoints/{checkpoint_name(epoch)}": epoch for epoch in epochs}

    @property
    def kept(self) -> list[str]:
        """The names of the files that MLflow should hold, but for status.json."""
        lost = set(self.checkpoints.values()) - set(kept_marks(self.status))
        return [name for name in self.status["files"] if self.checkpoints.get(name) not in lost]

    def file(self, name: str) -> tuple[str, bytes]:
        """Return the address and the content of a file of the run, compared with nothing."""
        if (epoch := self.checkpoints.get(name)) is None:
            return self.reader.artifact(self.stored, name)
        path, content = self.reader.stored_checkpoint(self.run, epoch)
        return str(path), content

    def damage(self, name: str) -> str | None:
        """Return one line if MLflow's copy of a file has not the sha256 that status.json records."""
        try:
            place, content = self.file(name)
        except LmcError as error:
            return str(error)
        found, recorded = sha256_bytes(content), str(self.status["files"][name])
        damaged = f"{place}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}; {REBUILD}"
        return None if found == recorded else damaged

    def other_tags(self) -> str | None:
        """Return one line if the run's tags have another sha256 than status.json."""
        for key in TAGGED:
            tag = self.stored.tags.get(f"lmc.{key}")
            if tag is not None and tag != str(self.status.get(key)):
                place, _ = self.file("status.json")
                return f"{place}: {key} is {self.status.get(key)}, the run's tag says {tag}; {REBUILD}"
        return None

    def other_points(self) -> str | None:
        """Return one line if the run's metrics are not those of its metrics.csv."""
        place, content = self.file("metrics.csv")
        try:
            points = training_points(parse_metrics(content.decode("ascii")))
        except (ValueError, KeyError, TypeError):
            raise LmcError(f"{place}: not the metrics of a training; {REBUILD}") from None
        return points_problem(self.stored, stored_points(self.reader, self.stored, METRICS), points)


def stored_points(reader: Reader, run: StoredRun, metrics: Any) -> Points:
    """Return all points of those metrics that the store has of a run."""
    return {(name, step): v for name, points in reader.history(run, metrics).items() for step, v in points}


def points_problem(run: StoredRun, stored: Points, expected: Iterable[Point]) -> str | None:
    """Return one line on the first point of a run that is not the one its files give, None if all are."""
    made = {(point.name, point.step): point.value for point in expected}
    for (name, step), there, here in sorted(differences(stored, made)):
        who = f"run {run.run_id} ({run.tags.get('mlflow.runName')})"
        return f"metric {name} at step {step} is {there} in {who}, its files give {here}; {REBUILD}"
    return None


def compare_training(record: StoredTraining, again: RunFolder) -> tuple[list[Check], list[Finding]]:
    """Compare a recorded training with `again`, the complete folder of its second making.

    Both status.json hold the sha256 of every file: where two are equal, the files are; where not, the files tell why.
    """
    recorded, made, epochs = record.status, again.status(), record.checkpoints
    problems = {name: record.damage(name) for name in record.kept}
    problems |= {"tags": record.other_tags(), "points": record.other_points()}
    findings = [Finding("stored", text, epochs.get(name)) for name, text in problems.items() if text]
    checks = [Check("stored in MLflow", len(problems) - len(findings), len(problems))]
    for name, key, where in KEYS:
        there, here = recorded.get(key), made.get(key)
        exists = there is not None or here is not None
        checks.append(Check(name, int(exists and there == here), int(exists)))
        if there != here and where != "init":  # the tensors below tell of other initial weights
            epoch = max(there or 0, here or 0) if key == "diverged_epoch" else None
            findings.append(Finding(where, f"{name}: {str(here)[:12]}, recorded {str(there)[:12]}", epoch))
    sound = {name for name in record.kept if problems[name] is None}
    files = {name: (there, here) for name, there, here in differences(recorded["files"], made["files"])}
    files.pop("config.json", None)  # a later version may write more settings, of the same fingerprint
    for name, checksums in files.items():
        findings.append(_file_finding(record, again, name, checksums, name in sound))
    other = sum(name in epochs for name in files)
    checks.append(Check("checkpoints", len(epochs) - other, len(epochs)))
    return [*checks, Check("metrics.csv", int("metrics.csv" not in files), 1)], findings


def _file_finding(
    record: StoredTraining, again: RunFolder, name: str, checksums: tuple[str | None, str | None], sound: bool
) -> Finding:
    """Return the difference of two files; `sound` says that MLflow has the recorded one."""
    there, here = checksums
    by_checksum = f"sha256 {str(here)[:12]}, recorded {str(there)[:12]}"
    if name == "metrics.csv":
        contents = (record.file(name)[1], (again.path / name).read_bytes())
        values = [csv_values(content, ("epoch", "split")) for content in contents]
        epoch = next((float(key.split(",")[0].split()[1]) for key, _, _ in differences(*values)), None)
        return Finding("training", f"{name}: {first_difference(*values) if sound else by_checksum}", epoch)
    epoch = parse_mark(name.removeprefix("checkpoints/epoch-").removesuffix(".safetensors"))
    if there is None or here is None:
        told = "not made here" if here is None else "not recorded, made here"
    else:
        told = by_checksum
        if sound:
            told = tensor_difference(load(record.file(name)[1]), load((again.path / name).read_bytes()))
    return Finding("init" if epoch == 0 else "training", f"weights at epoch {epoch:g}: {told}", epoch)


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
