"""Measured curves in the working store, by pair key: a comparison that was interrupted, or is repeated, goes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.pair import judge_mark
from lmc_repro.data.catalog import dataset_info
from lmc_repro.files import sha256_bytes, write_json
from lmc_repro.schemas.base import canonical_json
from lmc_repro.schemas.plan import Cell


def store_pair(folder: Path, key: str, result: PairResult) -> None:
    """Store what was measured, not how it is judged: curves at every mark and the endpoints' distance."""
    measured = {
        "pair": result.pair,
        "trainer_seed": result.trainer_seed,
        "fingerprints": list(result.fingerprints),
        "largest_class": result.largest_class,
        "marks": [
            {"epoch": mark.epoch, "curves": {split: dataclasses.asdict(curve) for split, curve in mark.curves.items()}}
            for mark in result.marks
        ],
        "distance": result.distance,
        "cosine": result.cosine,
        "disagreement": result.disagreement,
    }
    # Through JSON first: what is read back has the same checksum.
    measured = json.loads(json.dumps(measured))
    write_json(folder / f"{key}.json", {"measured": measured, "sha256": _checksum(measured)})


def load_pair(folder: Path, key: str, cell: Cell, statuses: Mapping[str, Mapping[str, Any]]) -> PairResult | None:
    """Return a stored pair, judged anew; None if it was not measured yet or its file is damaged."""
    try:
        stored = json.loads((folder / f"{key}.json").read_bytes())
        measured = stored["measured"]
        if stored["sha256"] != _checksum(measured):
            return None
        marks = {
            mark["epoch"]: {
                split: Curve(tuple(curve["wrong"]), curve["n"], tuple(curve["loss"]))
                for split, curve in mark["curves"].items()
            }
            for mark in measured["marks"]
        }
        return judged_pair(measured, marks, cell.config, statuses)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def judged_pair(
    measured: Mapping[str, Any],
    marks: Mapping[float, dict[SplitName, Curve]],
    config: Mapping[str, Any],
    statuses: Mapping[str, Mapping[str, Any]],
) -> PairResult:
    """Return a pair from its curves at each mark and what else was measured of it; KeyError for what is not there.

    `measured` is a pair as `store_pair` writes it or as cells.json has it, `config` its cell's.
    """
    first, second = measured["fingerprints"]
    diverged = (statuses[first]["diverged_epoch"], statuses[second]["diverged_epoch"])
    classes, largest_class = dataset_info(config["data"]["dataset"]).classes, int(measured["largest_class"])
    return PairResult(
        measured["pair"],
        measured["trainer_seed"],
        (first, second),
        largest_class,
        tuple(judge_mark(e, marks[e], diverged, classes, largest_class) for e in sorted(marks)),
        measured["distance"],
        measured["cosine"],
        measured["disagreement"],
    )


def _checksum(measured: Any) -> str:
    return sha256_bytes(canonical_json(measured).encode())
