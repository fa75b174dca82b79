"""planes.csv: error and loss on the plane of each cell that asks for one; the cache of measured planes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from lmc_repro.barriers.curve import SPLITS, Curve
from lmc_repro.barriers.results import DIFFERENT, Place, Plane
from lmc_repro.results.pairs import load_measured
from lmc_repro.training.run_folder import RunFolder

COLUMNS = ("study", "cell", "run", "x", "y", "split", "wrong", "n", "loss")
"""`run` is a fingerprint in the rows of the three runs themselves, and empty on the grid."""

_PLANE = TypeAdapter(Plane)


def load_plane(folder: Path, key: str) -> Plane | None:
    """Return a stored plane; None if there is none or its file is damaged."""
    return load_measured(folder, key, _PLANE)


def planes_csv(study: str, planes: Mapping[str, Plane]) -> bytes:
    """Return planes.csv: of each cell and split the three runs, then the grid row by row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell, plane in planes.items():
        for split in SPLITS:
            parts: list[tuple[Sequence[str], Sequence[Place], Curve]]
            parts = [(plane.fingerprints, plane.corners, plane.runs[split])]
            for y, row in zip(plane.ys, plane.rows[split], strict=True):
                parts.append(([""] * len(plane.xs), [(x, y) for x in plane.xs], row))
            for runs, places, curve in parts:
                for run, place, wrong, loss in zip(runs, places, curve.wrong, curve.loss, strict=True):
                    last = "" if loss is None else repr(loss)
                    writer.writerow([study, cell, run, *map(repr, place), split, wrong, curve.n, last])
    return text.getvalue().encode()


def read_planes(lines: Sequence[Sequence[str]]) -> dict[str, Plane]:
    """Return the planes of planes.csv by cell; ValueError, KeyError or IndexError if it is not such a file."""
    header, *rows = lines
    if tuple(header) != COLUMNS:
        raise ValueError(f"columns: found {', '.join(header)}")
    cells: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault(row[1], []).append(dict(zip(COLUMNS, row, strict=True)))
    return {cell: _plane(cell, values) for cell, values in cells.items()}


def runs_problem(runs: Path, tag: str, plane: Plane) -> str | None:
    """Return one line if a count of the three runs differs from their metrics.csv in `runs`; see `ends_problem`."""
    share = DIFFERENT if tag.startswith("cuda") else 0.0
    for i, fingerprint in enumerate(plane.fingerprints):
        folder = RunFolder(runs / fingerprint)
        last = {row.split: row for row in folder.metrics()}  # of the last epoch, in their order
        for split in SPLITS:
            found, n, row = plane.runs[split].wrong[i], plane.runs[split].n, last.get(split)
            if row is None or row.wrong is None or row.n != n or abs(row.wrong - found) > share * n:
                said = f"{row.wrong} wrong of {row.n}" if row else "nothing"
                return f"{folder.path / 'metrics.csv'}: says {said} on {split}, its plane has {found} of {n}"
    return None


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
