"""Reads results/<study>/ back: runs.json, cells.json and curves.csv, the files of a comparison."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.results import CellSummary, Late
from lmc_repro.errors import LmcError
from lmc_repro.files import read_json
from lmc_repro.report.records import Axis, CellRecord, CurveKey, DatasetRecord, PairRecord, StudyResults

FILES = ("runs.json", "cells.json", "curves.csv")

T = TypeVar("T")


def has_results(folder: Path) -> bool:
    """Return whether a comparison has written to results/<study>/ at all."""
    return any((folder / name).exists() for name in FILES)


def read_study(folder: Path) -> StudyResults:
    """Return the results of the study in results/<study>/; LmcError that names the damaged or missing file."""
    fix = f"run `lmc compare {folder.name}`"
    runs = read_json(folder / "runs.json", fix)
    count = _built(folder / "runs.json", fix, lambda: int(runs["points"]))
    cells_file, curves_file = folder / "cells.json", folder / "curves.csv"
    listed = read_json(cells_file, fix)
    cells = _built(cells_file, fix, lambda: tuple(_cell(entry) for entry in listed))
    try:
        with open(curves_file, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise LmcError(f"{curves_file}: cannot be read ({' '.join(str(error).split())}); {fix}") from None
    curves = _built(curves_file, fix, lambda: _curves(rows, count))
    for cell in cells:
        for pair in cell.pairs:
            for split in SPLITS:
                if (cell.key, pair.pair, pair.epoch, split) not in curves:
                    what = f"no {split} curve of cell {cell.key}, pair {pair.pair}, epoch {pair.epoch}"
                    raise LmcError(f"{curves_file}: {what}, which cells.json has; {fix}")
    return _built(folder / "runs.json", fix, lambda: _study(runs, cells, curves))


def _built(path: Path, fix: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise LmcError(f"{path}: not the file of a comparison ({found}); {fix}") from None


def _study(runs: Mapping[str, Any], cells: tuple[CellRecord, ...], curves: dict[CurveKey, Curve]) -> StudyResults:
    return StudyResults(
        **_taken(StudyResults, runs, ("datasets", "rows", "columns", "provenance", "cells", "curves")),
        datasets=tuple(DatasetRecord(**_taken(DatasetRecord, entry)) for entry in runs["datasets"]),
        rows=tuple(Axis(**_taken(Axis, entry)) for entry in runs["rows"]),
        columns=tuple(Axis(**_taken(Axis, entry)) for entry in runs["columns"]),
        provenance=tuple((entry["key"], entry["value"], entry["source"]) for entry in runs["provenance"]),
        cells=cells,
        curves=curves,
    )


def _cell(entry: Mapping[str, Any]) -> CellRecord:
    return CellRecord(
        **_taken(CellRecord, entry, ("key", "pairs", "summary")),
        key=entry["cell"],
        pairs=tuple(_pair(pair) for pair in entry["pairs"]),
        summary={split: _summary(entry[split]) for split in SPLITS},
    )


def _pair(entry: Mapping[str, Any]) -> PairRecord:
    first, second = entry["fingerprints"]
    status_0, status_1 = entry["status"]
    known = {split: entry[split]["barrier"] is not None for split in SPLITS}
    return PairRecord(
        pair=entry["pair"],
        trainer_seed=entry["trainer_seed"],
        fingerprints=(first, second),
        status=(status_0, status_1),
        epoch=entry["epoch"],
        barriers={split: Barriers(**_taken(Barriers, entry[split])) if known[split] else None for split in SPLITS},
        errors={split: (float(entry[split]["error_0"]), float(entry[split]["error_1"])) for split in SPLITS},
    )


def _summary(entry: Mapping[str, Any]) -> CellSummary:
    return CellSummary(
        **_taken(CellSummary, entry, ("values", "flags", "late")),
        values=tuple(float(value) for value in entry["values"]),
        flags=tuple(entry["flags"]),
        late=tuple(Late(**_taken(Late, mark)) for mark in entry["late"]),
    )


def _taken(kind: type[Any], entry: Mapping[str, Any], but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the entry's values for the fields of a dataclass; the files may hold more than the report reads."""
    return {field.name: entry[field.name] for field in fields(kind) if field.name not in but}


def _curves(rows: list[dict[str, str]], count: int) -> dict[CurveKey, Curve]:
    points: dict[CurveKey, list[dict[str, str]]] = {}
    for row in rows:
        points.setdefault((row["cell"], row["pair"], int(row["epoch"]), _split(row["split"])), []).append(row)
    curves = {}
    for key, path in points.items():
        path.sort(key=lambda row: float(row["alpha"]))
        wrong = tuple(int(row["wrong"]) for row in path)
        loss = tuple(float(row["loss"]) if row["loss"] else None for row in path)
        curves[key] = Curve(wrong, int(path[0]["n"]), loss)
        steps = zip(curves[key].alphas, path, strict=True)
        if len(path) != count or any(abs(alpha - float(row["alpha"])) > 1e-6 for alpha, row in steps):
            raise ValueError(f"{', '.join(map(str, key))}: {len(path)} of {count} points, or unevenly spaced")
    return curves


def _split(name: str) -> SplitName:
    for split in SPLITS:
        if name == split:
            return split
    raise ValueError(f"split {name!r}")
