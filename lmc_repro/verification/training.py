"""A training against its second making: initial weights, order, augmentation, every checkpoint, every metric row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from safetensors.torch import load
from torch import Tensor

from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes
from lmc_repro.schemas.base import mark_text
from lmc_repro.tracking.reader import Reader
from lmc_repro.training.run_folder import MetricRow, RunFolder
from lmc_repro.verification.certificate import Check, Finding, Where
from lmc_repro.verification.record import Record

STREAMS: tuple[tuple[str, str, Where], ...] = (
    ("initial weights", "init_sha256", "init"),
    ("order", "order_sha256", "order"),
    ("augmentation", "augmentation_sha256", "augmentation"),
)
"""What the three seeds decide: name, key in status.json, and where a difference lies."""


def compare_training(reader: Reader, record: Record, again: RunFolder) -> tuple[list[Check], list[Finding]]:
    """Compare a recorded training with `again`, the complete folder of its second making."""
    status = again.status()
    checks, findings = list(record.checks), list(record.findings)
    if status["data_digest"] != record.status["data_digest"]:
        digests = (str(s["data_digest"])[:12] for s in (record.status, status))
        findings.append(Finding("data", "data digest: recorded {}, here {}".format(*digests)))
    for name, key, where in STREAMS:
        recorded, found = record.status.get(key), status.get(key)
        there = recorded is not None or found is not None
        checks.append(Check(name, int(there and recorded == found), int(there)))
        if recorded != found and where != "init":  # other initial weights are told below, tensor by tensor
            findings.append(Finding(where, f"{name}: sha256 {str(found)[:12]}, recorded {str(recorded)[:12]}"))
    weights = list(_weights(reader, record, again))
    checks.append(Check("checkpoints", len(record.marks) - len(weights), len(record.marks)))
    rows = list(_rows(record.rows, again.metrics()))
    checks.append(Check("metric rows", max(len(record.rows) - len(rows), 0), len(record.rows)))
    return checks, [*findings, *weights, *rows]


def _weights(reader: Reader, record: Record, again: RunFolder) -> Iterator[Finding]:
    made = again.status()["checkpoints"]
    for mark in record.marks:
        if made.get(mark_text(mark)) == record.sha256(mark):
            continue
        where: Where = "init" if mark == 0 else "training"
        told = f"weights at epoch {mark_text(mark)}: {_how(reader, record, again, mark)}"
        yield Finding(where, told, mark)


def _how(reader: Reader, record: Record, again: RunFolder, mark: float) -> str:
    """Return in what two checkpoints differ; by their checksums where MLflow's copy cannot be had."""
    made = again.status()["checkpoints"].get(mark_text(mark))
    if made is None:
        return "not made here"
    try:
        _, content = reader.stored_checkpoint(record.end.run, mark)
    except LmcError:
        content = b""
    if sha256_bytes(content) != record.sha256(mark):
        return f"sha256 {made[:12]}, recorded {record.sha256(mark)[:12]} (MLflow's copy is damaged)"
    return tensor_difference(load(content), load(again.checkpoint(mark).read_bytes()))


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


def _rows(recorded: list[MetricRow], made: list[MetricRow]) -> Iterator[Finding]:
    """Yield one finding for each recorded row that was made otherwise or not at all, and for rows too many."""
    here = {(row.epoch, row.split): row for row in made}
    for row in recorded:
        other = here.pop((row.epoch, row.split), None)
        if other == row:
            continue
        place = f"metrics.csv, epoch {mark_text(row.epoch)}, {row.split}"
        if other is None:
            yield Finding("training", f"{place}: not made here", row.epoch)
            continue
        parts = [
            f"{part} {getattr(other, part)!r}, recorded {getattr(row, part)!r}"
            for part in ("wrong", "n", "loss")
            if getattr(other, part) != getattr(row, part)
        ]
        yield Finding("training", f"{place}: {'; '.join(parts)}", row.epoch)
    for epoch, split in here:
        yield Finding("training", f"metrics.csv, epoch {mark_text(epoch)}, {split}: not recorded, made here", epoch)
