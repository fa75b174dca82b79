"""One run of the store as data, whatever its kind: what `lmc show` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.tracking import names
from lmc_repro.tracking.reader import Points, Reader
from lmc_repro.tracking.stored_run import StoredRun

TRAINING = ("train/error", "train/loss", "test/error", "test/loss", "train/batch_loss")
PATH = tuple(f"path/{split}_{name}" for split in SPLITS for name in ("error", "loss"))
OVER_TRAINING = tuple(f"barrier_over_training/{split}{end}" for split in SPLITS for end in ("", "_mean"))
CURVES = {"train": TRAINING, "pair": (*PATH, *OVER_TRAINING), "cell": OVER_TRAINING}
"""The metrics of each kind that are curves: by epoch, a path's by 1000 alpha. All others are single numbers."""


def run_view(reader: Reader, run: StoredRun) -> dict[str, Any]:
    """Return a run: who it is, config and seeds, numbers, curves, and the runs that belong to it.

    `config` holds its parameters as values; `curves` gives [step, value] lists. A cell has `trainings` and `pairs`, a
    pair its `ends`, a training the `pairs` that it is an end of.
    """
    kind = run.tags.get(names.KIND, "other")
    curves = reader.history(run, CURVES.get(kind, ()))
    drawn = {name for name in run.metrics if name.startswith("path/") or name in curves}
    return {
        "run_id": run.run_id,
        "name": run.tags.get("mlflow.runName", ""),
        "kind": kind,
        "status": run.status,
        "store": reader.uri,
        "study": run.tags.get(names.STUDY),
        "profile": run.tags.get(names.PROFILE),
        "cell": run.tags.get(names.CELL),
        "parent": run.tags.get(names.PARENT),
        "config": {name: _value(text) for name, text in sorted(run.params.items())},
        "tags": {name: value for name, value in sorted(run.tags.items()) if name.startswith("lmc.")},
        "numbers": {name: value for name, value in sorted(run.metrics.items()) if name not in drawn and value == value},
        "curves": {name: [[step, value] for step, value in points] for name, points in curves.items()},
        **_relatives(reader, run, kind),
    }


def _relatives(reader: Reader, run: StoredRun, kind: str) -> dict[str, Any]:
    if kind not in names.KEY_TAG:
        return {}
    family = reader.siblings(run)
    trainings = [other for other in family if other.tags.get(names.KIND) == "train"]
    pairs = [other for other in family if other.tags.get(names.KIND) == "pair"]
    if kind == "cell":
        return {"trainings": [_training(t) for t in trainings], "pairs": [_pair(reader, pair) for pair in pairs]}
    if kind == "pair":
        ends = [run.tags.get(f"lmc.fingerprint_{i}") for i in (0, 1)]
        known = {t.tags.get(names.FINGERPRINT): t for t in trainings}
        return {
            "ends": [
                {**_training(known[end]), "status": run.tags.get(f"lmc.status_{i}")}
                for i, end in enumerate(ends)
                if end in known
            ]
        }
    own = run.tags.get(names.FINGERPRINT)
    mine = [pair for pair in pairs if own in (pair.tags.get("lmc.fingerprint_0"), pair.tags.get("lmc.fingerprint_1"))]
    return {"pairs": [_pair(reader, pair) for pair in mine]}


def _training(run: StoredRun) -> dict[str, Any]:
    errors = {f"{split}_error": run.metrics.get(f"{split}/error") for split in SPLITS}
    seeds = {name: _value(text) for name, text in run.params.items() if name.startswith("seeds.")}
    return {"run_id": run.run_id, "name": run.tags.get("mlflow.runName", ""), "status": run.status, **seeds, **errors}


def _pair(reader: Reader, run: StoredRun) -> dict[str, Any]:
    numbers = {
        f"{split}_{name}": run.metrics.get(f"barrier/{split}{end}")
        for split in SPLITS
        for name, end in (("barrier", ""), ("line", "_line"))
    }
    path = reader.history(run, ("path/test_error",)).get("path/test_error", [])
    statuses = [run.tags.get(f"lmc.status_{i}") for i in (0, 1)]
    return {
        "run_id": run.run_id,
        "name": run.tags.get("mlflow.runName", ""),
        "ends": statuses,
        **numbers,
        "test_error": values(path),
    }


def values(points: Points | Sequence[Sequence[float]]) -> list[float]:
    """Return the values of a curve without its steps."""
    return [point[1] for point in points]


def _value(text: str) -> Any:
    """Return a parameter as it was before it became text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
