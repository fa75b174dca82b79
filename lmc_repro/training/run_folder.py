"""The files of one run: config.json, metrics.csv, status.json, checkpoints/; and, while it trains, its progress.

A run folder is named by its fingerprint. It is complete when status.json is there, which is written last and holds
the sha256 of everything else. No dates, durations or ids: equal bits give equal folders.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import json_bytes, read_json, sha256_file, write_atomic, write_json
from lmc_repro.config.base import epoch_text, parse_epoch
from lmc_repro.config.load import validate
from lmc_repro.config.run import RunConfig

Keep = Literal["all", "last", "none"]
"""The choice of checkpoints to keep of a run."""

METRIC_COLUMNS = ("epoch", "split", "wrong", "n", "loss")


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
            files, evaluations = (
                status["files"],
                set(map(parse_epoch, status["checkpoints"])) - set(kept_epochs(status)),
            )
        except (LmcError, KeyError, TypeError, ValueError) as error:
            return str(error) if isinstance(error, LmcError) else f"{self.status_file}: damaged; {self.fix}"
        left_out = {f"checkpoints/{checkpoint_name(epoch)}" for epoch in evaluations}
        for name, recorded in files.items():
            if name in left_out:
                continue
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
