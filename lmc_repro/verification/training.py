"""A training as MLflow holds it: its files against the checksums of its status.json, and against a second training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from safetensors.torch import load
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes
from lmc_repro.config.base import parse_epoch
from lmc_repro.notebook.compare_runs import StoredTraining
from lmc_repro.tracking.content import METRICS, Point, training_points
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.run_folder import RunFolder, checkpoint_name, kept_epochs, parse_metrics
from lmc_repro.verification.differences import Tally, Where, differences, explain

TAGGED = ("init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")

KEYS: tuple[tuple[str, str, Where], ...] = (
    ("data digest", "data_digest", "data"),
    ("initial weights", "init_sha256", "init"),
    ("order", "order_sha256", "order"),
    ("augmentation", "augmentation_sha256", "augmentation"),
    ("diverged epoch", "diverged_epoch", "training"),
)
"""Keys of status.json besides the checksums of files: name, key, and where a difference lies."""

Points = dict[tuple[str, int], float]
"""Values by metric and step."""


class RecordedTraining(StoredTraining):
    """A finished training in MLflow as a record: its status.json holds the sha256 of every other file."""

    @property
    def checkpoints(self) -> dict[str, float]:
        """The evaluation epochs by the names of their files, those that were not kept included."""
        epochs = sorted(map(parse_epoch, self.run.status["checkpoints"]))
        return {f"checkpoints/{checkpoint_name(epoch)}": epoch for epoch in epochs}

    @property
    def kept(self) -> list[str]:
        """The names of the files that MLflow should hold, but for status.json."""
        lost = set(self.checkpoints.values()) - set(kept_epochs(self.run.status))
        return [name for name in self.run.status["files"] if self.checkpoints.get(name) not in lost]

    def file(self, name: str) -> tuple[str, bytes]:
        """Return the address and the content of a file of the run, compared with nothing."""
        if (epoch := self.checkpoints.get(name)) is None:
            return self.reader.artifact(self.stored, name)
        path, content = self.reader.stored_checkpoint(self.run, epoch)
        return str(path), content

    def damage(self, name: str) -> str | None:
        """Return one line if MLflow's copy of a file does not have the sha256 that status.json records."""
        try:
            place, content = self.file(name)
        except LmcError as error:
            return str(error)
        found, recorded = sha256_bytes(content), str(self.run.status["files"][name])
        damaged = f"{place}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}; {REBUILD}"
        return None if found == recorded else damaged

    def problem(self, folder: RunFolder) -> str | None:
        """Return one line if MLflow's copy of the training differs from its run folder."""
        for name in ("status.json", "config.json", "metrics.csv"):
            place, content = self.file(name)
            if content != (folder.path / name).read_bytes():
                return f"{place}: other bytes than {folder.path / name}; {REBUILD}"
        return self.shown_otherwise()

    def shown_otherwise(self) -> str | None:
        """Return one line if the run's tags or metrics in MLflow are not those of its status.json and metrics.csv."""
        for key in TAGGED:
            tag, recorded = self.stored.tags.get(f"lmc.{key}"), self.run.status.get(key)
            if tag is not None and tag != str(recorded):
                return f"{self.file('status.json')[0]}: {key} is {recorded}, the run's tag says {tag}; {REBUILD}"
        place, content = self.file("metrics.csv")
        try:
            points = training_points(parse_metrics(content.decode("ascii")))
        except (ValueError, KeyError, TypeError):
            raise LmcError(f"{place}: not the metrics of a training; {REBUILD}") from None
        return points_problem(self.stored, logged_points(self.reader, self.stored, METRICS), points)


def logged_points(reader: Reader, run: StoredRun, metrics: Iterable[str]) -> Points:
    """Return all points of those metrics that the store has of a run."""
    return {(name, step): v for name, points in reader.history(run, metrics).items() for step, v in points}


def points_problem(run: StoredRun, logged: Points, expected: Iterable[Point]) -> str | None:
    """Return one line on the first point of a run that is not the one its files give, None if all are."""
    made = {(point.name, point.step): point.value for point in expected}
    for (name, step), there, here in sorted(differences(logged, made)):
        who = f"run {run.run_id} ({run.tags.get('mlflow.runName')})"
        return f"metric {name} at step {step} is {there} in {who}, its files give {here}; {REBUILD}"
    return None


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
