"""Reads results/<study>/ back: runs.json, cells.json and curves.csv, the files of a comparison."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.results import CellSummary, Late
from lmc_repro.errors import LmcError
from lmc_repro.files import read_json
from lmc_repro.report.converged import NOT_CONVERGED, not_converged
from lmc_repro.report.records import (
    Axis,
    CellRecord,
    CurveKey,
    DatasetRecord,
    LeftOut,
    PairRecord,
    Show,
    StudyResults,
)
from lmc_repro.schemas.base import parse_mark

FILES = ("runs.json", "cells.json", "curves.csv")

_LATER = ("dataset", "show", "left_out", "not_run")  # files made before there were these hold none

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
            lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise LmcError(f"{curves_file}: cannot be read ({' '.join(str(error).split())}); {fix}") from None
    curves = _built(curves_file, fix, lambda: _curves(lines, count))
    for cell in cells:
        for pair in cell.pairs:
            for split in SPLITS:
                if (cell.key, pair.pair, pair.epoch, split) not in curves:
                    what = f"no {split} curve of cell {cell.key}, pair {pair.pair}, epoch {pair.epoch:g}"
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
        **_taken(StudyResults, runs, ("datasets", "rows", "columns", "provenance", "cells", "curves", *_LATER)),
        datasets=tuple(DatasetRecord(**_taken(DatasetRecord, entry)) for entry in runs["datasets"]),
        rows=tuple(_axis(entry) for entry in runs["rows"]),
        columns=tuple(_axis(entry) for entry in runs["columns"]),
        provenance=tuple((entry["key"], entry["value"], entry["source"]) for entry in runs["provenance"]),
        cells=cells,
        curves=curves,
        dataset=runs.get("dataset"),
        show=Show(**_taken(Show, runs["show"])) if runs.get("show") else None,
        left_out=tuple(_left_out(entry) for entry in runs.get("left_out", ())),
        not_run=dict(runs.get("not_run", {})),
    )


def _left_out(entry: Mapping[str, Any]) -> LeftOut:
    rows, columns = (tuple(entry[axis]) if entry[axis] else None for axis in ("rows", "columns"))
    return LeftOut(rows, columns, entry["label"], entry["why"])


def _axis(entry: Mapping[str, Any]) -> Axis:
    return Axis(entry["key"], entry["label"], entry.get("dataset"), entry.get("varies"))


def _cell(entry: Mapping[str, Any]) -> CellRecord:
    cell = CellRecord(
        **_taken(CellRecord, entry, ("key", "pairs", "summary")),
        key=entry["cell"],
        pairs=tuple(_pair(pair) for pair in entry["pairs"]),
        summary={split: _summary(entry[split]) for split in SPLITS},
    )
    if not not_converged(cell):
        return cell
    marked = {split: replace(s, flags=(*s.flags, NOT_CONVERGED)) for split, s in cell.summary.items()}
    return replace(cell, summary=marked)


def _pair(entry: Mapping[str, Any]) -> PairRecord:
    first, second = entry["fingerprints"]
    status_0, status_1 = entry["status"]
    known = {split: entry[split]["barrier"] is not None for split in SPLITS}
    return PairRecord(
        pair=entry["pair"],
        trainer_seed=entry["trainer_seed"],
        fingerprints=(first, second),
        largest_class=entry["largest_class"],
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


def _curves(lines: list[list[str]], count: int) -> dict[CurveKey, Curve]:
    """Return the curves by cell, pair, epoch and split; their alphas are checked, and need no order."""
    header = {name: place for place, name in enumerate(lines[0])}
    cell, pair, epoch, split = (header[name] for name in ("cell", "pair", "epoch", "split"))
    alpha, wrong, n, loss = (header[name] for name in ("alpha", "wrong", "n", "loss"))
    paths: dict[tuple[str, str, str, str], list[list[str]]] = {}
    for line in lines[1:]:
        paths.setdefault((line[cell], line[pair], line[epoch], line[split]), []).append(line)
    curves = {}
    for names, path in paths.items():
        path.sort(key=lambda line: float(line[alpha]))
        curve = Curve(
            tuple(int(line[wrong]) for line in path),
            int(path[0][n]),
            tuple(float(line[loss]) if line[loss] else None for line in path),
        )
        if len(path) != count or any(abs(i - float(line[alpha]) * (count - 1)) > 1e-5 for i, line in enumerate(path)):
            raise ValueError(f"{', '.join(names)}: {len(path)} of {count} points, or unevenly spaced")
        curves[names[0], names[1], parse_mark(names[2]), _split(names[3])] = curve
    return curves


def _split(name: str) -> SplitName:
    for split in SPLITS:
        if name == split:
            return split
    raise ValueError(f"split {name!r}")
