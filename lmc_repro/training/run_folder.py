"""The files of one run: config.json, metrics.csv, status.json, checkpoints/; and, while it trains, its progress.

A run folder is named by its fingerprint. It is complete when status.json is there, which is written last and holds
the sha256 of everything else. No dates, durations or ids: equal bits give equal folders. An interrupted run resumes
from its progress, bit for bit: weights, optimizer buffers, metrics so far.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import json_bytes, read_json, sha256_file, write_atomic, write_json
from lmc_repro.config.base import epoch_text, parse_epoch
from lmc_repro.config.load import validate
from lmc_repro.config.run import RunConfig
from lmc_repro.training.checkpoint import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

Keep = Literal["all", "last", "none"]
"""The choice of checkpoints to keep of a run."""

METRIC_COLUMNS = ("epoch", "split", "wrong", "n", "loss")
_PROGRESS = "progress.json"


@dataclass(frozen=True)
class MetricRow:
    """One line of metrics.csv.

    split `train` and `test`: a whole un-augmented split with the weights after `epoch` epochs, which may be a fraction.
    split `batch`: the mean loss of the epoch's batches as they were trained on, `wrong` not counted. A loss that is not
    finite is None.
    """

    epoch: float
    split: Literal["train", "test", "batch"]
    wrong: int | None
    n: int
    loss: float | None

    @property
    def error(self) -> float | None:
        """Share of wrong predictions."""
        return None if self.wrong is None else self.wrong / self.n


def checkpoint_name(epoch: float) -> str:
    """Return the file name of an evaluation epoch's weights: `epoch-0005.safetensors`, `epoch-0000.5.safetensors`."""
    whole, point, part = epoch_text(epoch).partition(".")
    return f"epoch-{int(whole):04d}{point}{part}.safetensors"


def content_names(evaluations: Sequence[float]) -> list[str]:
    """Return the file names of a complete run with the weights of these evaluation epochs, but for status.json."""
    return ["config.json", "metrics.csv", *(f"checkpoints/{checkpoint_name(epoch)}" for epoch in evaluations)]


def kept_epochs(status: Mapping[str, Any]) -> list[float]:
    """Return the evaluation epochs whose weights a complete run still has: all, or `kept` of its status.json."""
    return sorted(map(parse_epoch, status.get("kept", status["checkpoints"])))


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of a run folder; reading gives LmcErrors that name the file."""

    path: Path

    @property
    def fingerprint(self) -> str:
        return self.path.name

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def fix(self) -> str:
        """The fix for a damaged folder, for errors."""
        return f"delete {self.path} and run again"

    def checkpoint(self, epoch: float) -> Path:
        return self.path / "checkpoints" / checkpoint_name(epoch)

    def is_complete(self) -> bool:
        """Whether the run is complete."""
        return self.status_file.is_file()

    def holds_all(self) -> bool:
        """Whether a complete run has the weights of all evaluation epochs; `lmc run --keep` leaves some out."""
        return "kept" not in self.status()

    def status(self) -> dict[str, Any]:
        """Return status.json."""
        status: dict[str, Any] = read_json(self.status_file, self.fix)
        return status

    def config(self) -> RunConfig:
        """Return the run's config."""
        path = self.path / "config.json"
        return validate(RunConfig, read_json(path, self.fix), str(path), stored=True)

    def metrics(self) -> list[MetricRow]:
        """Return the lines of metrics.csv."""
        path = self.path / "metrics.csv"
        try:
            return parse_metrics(path.read_text(encoding="ascii"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LmcError(f"{path}: cannot be read ({error}); {self.fix}") from None

    def write_config(self, config: RunConfig) -> None:
        write_json(self.path / "config.json", config.model_dump(mode="json"), wait=False)

    def write_metrics(self, rows: list[MetricRow], wait: bool = False) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(METRIC_COLUMNS)
        for row in rows:
            writer.writerow([_cell(getattr(row, column)) for column in METRIC_COLUMNS])
        write_atomic(self.path / "metrics.csv", text.getvalue().encode(), wait)

    def damage(self) -> str | None:
        """Return one line naming the first file that does not fit its recorded sha256, or None if all do."""
        try:
            status = self.status()
            evaluations = set(map(parse_epoch, status["checkpoints"])) - set(kept_epochs(status))
            left_out = {f"checkpoints/{checkpoint_name(epoch)}" for epoch in evaluations}
            files = {name: sha256 for name, sha256 in status["files"].items() if name not in left_out}
        except LmcError as error:
            return str(error)
        except (KeyError, TypeError, ValueError, AttributeError):
            return f"{self.status_file}: damaged; {self.fix}"
        for name, recorded in files.items():
            try:
                found = sha256_file(self.path / name)
            except OSError as error:
                return f"{self.path / name}: cannot be read ({error.strerror}); {self.fix}"
            if found != recorded:
                return f"{self.path / name}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}; {self.fix}"
        return None

    def export(self, parent: Path, keep: Keep = "all") -> RunFolder:
        """Put a copy of this complete run below `parent`, by hard links where the file system has them.

        `keep` says which of its checkpoints go along. The status.json of a copy without all of them lists those that
        do as `kept`; their sha256 stay in it.
        """
        target, status, evaluations = RunFolder(parent / self.fingerprint), self.status(), kept_epochs(self.status())
        if keep != "all":
            evaluations = [epoch for epoch in evaluations if keep == "last" and epoch == self.config().epochs]
            status["kept"] = [epoch_text(epoch) for epoch in evaluations]
        said = json_bytes(status)
        if target.is_complete() and target.status_file.read_bytes() == said and not target.damage():
            return target
        shutil.rmtree(target.path, ignore_errors=True)
        for name in content_names(evaluations) + (["status.json"] if keep == "all" else []):
            (target.path / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.path / name, target.path / name)
            except OSError:
                shutil.copy2(self.path / name, target.path / name)
        if keep != "all":
            write_atomic(target.status_file, said, wait=False)
        return target


def _cell(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def parse_metrics(text: str) -> list[MetricRow]:
    """Return the lines of a metrics.csv; ValueError, KeyError or TypeError for any other text."""
    return [_row(values) for values in csv.DictReader(text.splitlines())]


def _row(values: dict[str, str]) -> MetricRow:
    return MetricRow(
        epoch=parse_epoch(values["epoch"]),
        split=values["split"],  # type: ignore[arg-type]
        wrong=int(values["wrong"]) if values["wrong"] else None,
        n=int(values["n"]),
        loss=float(values["loss"]) if values["loss"] else None,
    )


@dataclass
class Progress:
    """A run's state after `epoch` whole epochs; `tensors` are its weights and buffers, one row each.

    `stack` lists the sizes of its stacks so far, on a GPU only.
    """

    epoch: int = 0
    diverged_epoch: float | None = None
    rows: list[MetricRow] = field(default_factory=list)
    checkpoints: dict[float, str] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    stack: list[int] = field(default_factory=list)


def save_progress(folder: RunFolder, progress: Progress) -> None:
    """Store `progress`; the JSON file is renamed into place last, so the files it names are whole."""
    state = folder.path / f"state-{progress.epoch:04d}.safetensors"
    sha256 = write_checkpoint(state, progress.tensors)
    record = {
        "fingerprint": folder.fingerprint,
        "epoch": progress.epoch,
        "diverged_epoch": progress.diverged_epoch,
        "stack": progress.stack,
        "rows": [vars(row) for row in progress.rows],
        "checkpoints": {epoch_text(epoch): sha for epoch, sha in progress.checkpoints.items()},
        "state": {"file": state.name, "sha256": sha256},
    }
    write_atomic(folder.path / _PROGRESS, json.dumps(record, allow_nan=False).encode())  # compact: for no reader
    for old in folder.path.glob("state-*.safetensors"):
        if old != state:
            old.unlink(missing_ok=True)


def load_progress(folder: RunFolder) -> Progress | None:
    """Return the last whole progress of an unfinished run, or None where there is none, or a damaged one."""
    try:
        record: dict[str, Any] = json.loads((folder.path / _PROGRESS).read_bytes())
        if record["fingerprint"] != folder.fingerprint:
            return None
        state = record["state"]
        checkpoints = {parse_epoch(epoch): str(sha) for epoch, sha in record["checkpoints"].items()}
        for epoch, sha in checkpoints.items():
            read_checkpoint(folder.checkpoint(epoch), sha, folder.fix)
        return Progress(
            epoch=int(record["epoch"]),
            diverged_epoch=record["diverged_epoch"],
            rows=[MetricRow(**row) for row in record["rows"]],
            checkpoints=checkpoints,
            tensors=read_checkpoint(folder.path / str(state["file"]), state["sha256"], folder.fix),
            stack=record.get("stack", []),
        )
    except (OSError, ValueError, KeyError, TypeError, LmcError):
        return None  # only time is lost: the run starts again


def peek_epoch(folder: RunFolder) -> int:
    """Return the epoch that a run would resume from, without reading its tensors; 0 if it has not begun."""
    try:
        return int(json.loads((folder.path / _PROGRESS).read_bytes())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def clear_progress(folder: RunFolder) -> None:
    """Remove the resume files of a finished run, and leftovers of interrupted writes."""
    (folder.path / _PROGRESS).unlink(missing_ok=True)
    for pattern in ("state-*.safetensors", ".*.tmp", "checkpoints/.*.tmp"):
        for left in folder.path.glob(pattern):
            left.unlink(missing_ok=True)
