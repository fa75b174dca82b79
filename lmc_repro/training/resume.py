"""The state from which an interrupted run resumes, bit for bit: weights, optimizer buffers, metrics so far."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_atomic
from lmc_repro.config.base import epoch_text, parse_epoch
from lmc_repro.training.checkpoint import read_checkpoint, write_checkpoint
from lmc_repro.training.run_folder import MetricRow, RunFolder

_FILE = "progress.json"


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
    write_atomic(folder.path / _FILE, json.dumps(record, allow_nan=False).encode())  # compact: for no reader
    for old in folder.path.glob("state-*.safetensors"):
        if old != state:
            old.unlink(missing_ok=True)


def load_progress(folder: RunFolder) -> Progress | None:
    """Return the last whole progress of an unfinished run, or None where there is none, or a damaged one."""
    try:
        record: dict[str, Any] = json.loads((folder.path / _FILE).read_bytes())
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
        return int(json.loads((folder.path / _FILE).read_bytes())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def clear_progress(folder: RunFolder) -> None:
    """Remove the resume files of a finished run, and leftovers of interrupted writes."""
    (folder.path / _FILE).unlink(missing_ok=True)
    for pattern in ("state-*.safetensors", ".*.tmp", "checkpoints/.*.tmp"):
        for left in folder.path.glob(pattern):
            left.unlink(missing_ok=True)
