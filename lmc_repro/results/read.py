"""Reader of results/<study>/."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.results import Plane
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.config.base import parse_epoch
from lmc_repro.results.schema import (
    CURVE_COLUMNS,
    FILES,
    NOT_CONVERGED,
    PLANE_COLUMNS,
    PLANES,
    VERSION,
    CellRecord,
    CurveKey,
    StudyResults,
    not_converged,
)

T = TypeVar("T")

_STUDY = TypeAdapter(StudyResults)
_NOT_IN_THE_FILE = ("cells", "summary", "barriers", "errors")


def has_results(folder: Path) -> bool:
    """Return whether a comparison has written to results/<study>/ at all."""
    return any((folder / name).exists() for name in FILES)


def find_study(places: Iterable[Path], profile: str) -> tuple[Path, StudyResults] | None:
    """Return the first of the folders results/<study>/ that is of a profile, and its results; None if none is."""
    for folder in filter(has_results, places):
        if (results := read_study(folder)).profile == profile:
            return folder, results
    return None


def read_study(folder: Path) -> StudyResults:
    """Return the results of the study in results/<study>/.

    Raises:
        LmcError: A file is missing, damaged, or of another version; one line that names file, key and fix.
    """
    fix = f"run `lmc compare {folder.name}`"
    runs_file, cells_file, curves_file = (folder / name for name in FILES)
    runs, cells = read_json(runs_file, fix), read_json(cells_file, fix)
    version = _built(runs_file, fix, lambda: runs.get("version", 1))
    if version != VERSION:
        raise LmcError(f"{runs_file}: version: found {version!r}, allowed: {VERSION}; {fix}")
    values = _built(cells_file, fix, lambda: {**runs, "cells": [_cell(entry) for entry in cells], "curves": {}})
    values["provenance"] = _built(runs_file, fix, lambda: [list(_provenance(entry)) for entry in runs["provenance"]])
    try:
        study = _STUDY.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place, path = first["loc"], cells_file if first["loc"][0] == "cells" else runs_file
        key = ".".join(str(part) for part in place if part not in _NOT_IN_THE_FILE)
        found = "missing" if first["type"] == "missing" else f"found {first['input']!r:.60}, {first['msg']}"
        raise LmcError(f"{path}: {key}: {found}; {fix}") from None
    lines = _lines(curves_file, fix)
    curves = _built(curves_file, fix, lambda: _curves(lines, study.points))
    planes: dict[str, Plane] = {}
    if any(cell.plane for cell in study.cells):
        rows = _lines(folder / PLANES, fix)
        planes = _built(folder / PLANES, fix, lambda: _planes(rows, study.cells))
    for cell in study.cells:
        for pair in cell.pairs:
            for split in SPLITS:
                if (cell.key, pair.pair, pair.epoch, split) not in curves:
                    what = f"no {split} curve of cell {cell.key}, pair {pair.pair}, epoch {pair.epoch:g}"
                    raise LmcError(f"{curves_file}: {what}, which cells.json has; {fix}")

    def flagged() -> StudyResults:
        marked = [
            replace(c, summary={k: replace(s, flags=(*s.flags, NOT_CONVERGED)) for k, s in c.summary.items()})
            if not_converged(c)
            else c
            for c in study.cells
        ]
        return replace(study, cells=tuple(marked), curves=curves, planes=planes)

    return _built(cells_file, fix, flagged)


def _lines(path: Path, fix: str) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise LmcError(f"{path}: cannot be read ({' '.join(str(error).split())}); {fix}") from None


def _built(path: Path, fix: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"{error}: missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise LmcError(f"{path}: not the file of a comparison ({found}); {fix}") from None


def _provenance(entry: Mapping[str, Any]) -> tuple[str, Any, str | None]:
    return entry["key"], entry["value"], entry["source"]


def _cell(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell of cells.json with the fields of CellRecord."""
    pairs = [_pair(pair) for pair in entry["pairs"]]
    return {**entry, "key": entry["cell"], "pairs": pairs, "summary": {split: entry[split] for split in SPLITS}}


def _pair(entry: Mapping[str, Any]) -> dict[str, Any]:
    numbers: dict[str, Any] = {split: entry[split] for split in SPLITS}
    return {
        **entry,
        "barriers": {split: found if found["barrier"] is not None else None for split, found in numbers.items()},
        "errors": {split: (found["error_0"], found["error_1"]) for split, found in numbers.items()},
    }


def _curves(lines: list[list[str]], count: int) -> dict[CurveKey, Curve]:
    """Return the curves by cell, pair, epoch and split; their alphas are checked, and need no order."""
    header = {name: place for place, name in enumerate(lines[0])}
    cell, pair, epoch, split = (header[name] for name in ("cell", "pair", "epoch", "split"))
    alpha, wrong, n, loss = (header[name] for name in ("alpha", "wrong", "n", "loss"))
    metrics = {name: place for name, place in header.items() if name not in CURVE_COLUMNS}
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
            {
                name: tuple(None if line[at] == "nan" else float(line[at]) for line in path)
                for name, at in metrics.items()
                if any(line[at] for line in path)
            },
        )
        place = ", ".join(names)
        if len(path) != count or any(abs(i - float(line[alpha]) * (count - 1)) > 1e-5 for i, line in enumerate(path)):
            raise ValueError(f"{place}: {len(path)} of {count} points, or unevenly spaced")
        _check(place, curve)
        for name, means in curve.columns.items():
            if not all(found is None or math.isfinite(found) for found in means):
                raise ValueError(f"{place}: {name} that is not finite; such a one is `nan`")
        curves[names[0], names[1], parse_epoch(names[2]), _split(names[3])] = curve
    return curves


def _planes(lines: list[list[str]], cells: Iterable[CellRecord]) -> dict[str, Plane]:
    """Return the planes by cell: of the cells that ask for one, their runs and grids."""
    planes, asked = read_planes(lines), {cell.key: cell for cell in cells if cell.plane}
    for key, plane in planes.items():
        cell = asked[key]
        grid = cell.plane.points if cell.plane else 0
        if plane.fingerprints != cell.plane_runs or (len(plane.xs), len(plane.ys)) != (grid, grid):
            raise ValueError(f"{key}: other runs or another grid than in cells.json")
        for split in SPLITS:
            for curve in (plane.runs[split], *plane.rows[split]):
                _check(f"{key}, {split}", curve)
    return planes


def read_planes(lines: Sequence[Sequence[str]]) -> dict[str, Plane]:
    """Return the planes of planes.csv by cell; ValueError, KeyError or IndexError if it is not such a file."""
    header, *rows = lines
    if tuple(header) != PLANE_COLUMNS:
        raise ValueError(f"columns: found {', '.join(header)}")
    cells: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault(row[1], []).append(dict(zip(PLANE_COLUMNS, row, strict=True)))
    return {cell: _plane(cell, values) for cell, values in cells.items()}


def _plane(cell: str, rows: Sequence[Mapping[str, str]]) -> Plane:
    ys, xs = (tuple(dict.fromkeys(float(row[name]) for row in rows if not row["run"])) for name in ("y", "x"))
    corners = {row["run"]: (float(row["x"]), float(row["y"])) for row in rows if row["run"]}
    a, b, c = corners
    runs, grid = {}, {}
    for split in SPLITS:
        own = [row for row in rows if row["split"] == split]
        expected = [*corners.values(), *((x, y) for y in ys for x in xs)]
        if [(float(row["x"]), float(row["y"])) for row in own] != expected:
            raise ValueError(f"{cell}, {split}: not the three runs and a whole grid")
        runs[split] = _curve(own[:3])
        grid[split] = tuple(_curve(own[i : i + len(xs)]) for i in range(3, len(own), len(xs)))
    return Plane((a, b, c), (corners[a], corners[b], corners[c]), xs, ys, runs, grid)


def _curve(rows: Sequence[Mapping[str, str]]) -> Curve:
    loss = tuple(float(row["loss"]) if row["loss"] else None for row in rows)
    return Curve(tuple(int(row["wrong"]) for row in rows), int(rows[0]["n"]), loss)


def _check(place: str, curve: Curve) -> None:
    if not all(0 <= found <= curve.n for found in curve.wrong) or curve.n < 1:
        raise ValueError(f"{place}: a count that is not within 0 and {curve.n}")
    if not all(found is None or math.isfinite(found) for found in curve.loss):
        raise ValueError(f"{place}: a loss that is not finite; such a one is left empty")


def _split(name: str) -> SplitName:
    for split in SPLITS:
        if name == split:
            return split
    raise ValueError(f"split {name!r}")
