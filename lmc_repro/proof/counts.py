"""The error counts of a study at its last epoch: enough to say cell by cell what another machine makes otherwise.

dvc.lock holds hashes only, and DVC's cache does not travel with a clone. So these counts are kept in a small file
beside it, with the hash of the curves.csv that they are of.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.barrier import mean_barrier
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import Verdict
from lmc_repro.barriers.verdict import judge_barrier
from lmc_repro.errors import LmcError
from lmc_repro.files import read_json, write_atomic
from lmc_repro.report.read import read_study

FILE = "dvc.counts.json"


@dataclass(frozen=True)
class StudyCounts:
    """A study's counts of wrong predictions along every path, by (cell, pair, split), and with what they were made.

    `n` are the images that they are out of, by (cell, split), `md5` is that of the curves.csv that has them.
    """

    numerics: str
    torch: str
    threshold: float
    md5: str
    n: dict[tuple[str, SplitName], int]
    wrong: dict[tuple[str, str, SplitName], tuple[int, ...]]


@dataclass(frozen=True)
class CellDifference:
    """One cell: how many of its counts differ and by how many images at most; mean barriers in points, then and now.

    `verdicts` are those of Eq. 1 alone: counts say nothing of ends that did not train.
    """

    cell: str
    differ: int
    total: int
    largest: int
    barriers: dict[SplitName, tuple[float | None, float | None]]
    verdicts: dict[SplitName, tuple[Verdict | None, Verdict | None]]


def read_counts(folder: Path) -> StudyCounts:
    """Return the counts of a results folder; LmcError that names the file that is damaged or missing."""
    runs = read_json(folder / "runs.json", "compare the study again")
    study = read_study(folder)
    wrong: dict[tuple[str, str, SplitName], tuple[int, ...]] = {}
    n: dict[tuple[str, SplitName], int] = {}
    for cell in study.cells:
        for pair in cell.pairs:
            for split in SPLITS:
                curve = study.curves[cell.key, pair.pair, pair.epoch, split]
                wrong[cell.key, pair.pair, split] = curve.wrong
                n[cell.key, split] = curve.n
    md5 = hashlib.md5((folder / "curves.csv").read_bytes(), usedforsecurity=False).hexdigest()
    return StudyCounts(str(runs["numerics"]), str(runs["torch"]), float(runs["threshold"]), md5, n, wrong)


def differing_cells(locked: StudyCounts, here: StudyCounts) -> list[CellDifference]:
    """Return the cells whose counts, pairs or number of points are not those of the lock."""
    cells = dict.fromkeys(cell for cell, _, _ in (*locked.wrong, *here.wrong))
    found = []
    for cell in cells:
        then, now = _of_cell(locked, cell), _of_cell(here, cell)
        if then == now:
            continue
        differ = largest = total = 0
        for key in dict.fromkeys((*then, *now)):
            a, b = then.get(key, ()), now.get(key, ())
            total += max(len(a), len(b))
            if len(a) != len(b):
                differ += max(len(a), len(b))
                continue
            apart = [abs(x - y) for x, y in zip(a, b, strict=True)]
            differ += sum(gap > 0 for gap in apart)
            largest = max(largest, *apart)
        barriers = {split: (_mean(locked, cell, split), _mean(here, cell, split)) for split in SPLITS}
        verdicts = {
            split: (_by_barrier(a, locked.threshold), _by_barrier(b, here.threshold))
            for split, (a, b) in barriers.items()
        }
        found.append(CellDifference(cell, differ, total, largest, barriers, verdicts))
    return found


def difference_line(difference: CellDifference) -> str:
    """Return one line for people."""
    parts = []
    for split in reversed(SPLITS):
        (a, b), (v, w) = difference.barriers[split], difference.verdicts[split]
        changed = f", {v} -> {w}" if v != w else ""
        parts.append(f"{split} {_points(a)} -> {_points(b)}{changed}")
    images = f"{difference.largest} image{'' if difference.largest == 1 else 's'}"
    counts = f"{difference.differ} of {difference.total} counts differ, by up to {images}"
    return f"{difference.cell}: {counts}; mean barrier {'; '.join(parts)}"


def write_kept(path: Path, studies: Mapping[str, StudyCounts]) -> None:
    """Write the counts of studies, a line a path: equal results give equal bytes."""
    kept = {
        study: {
            "numerics": counts.numerics,
            "torch": counts.torch,
            "threshold": counts.threshold,
            "md5": counts.md5,
            "wrong": [
                f"{cell} {pair} {split} {counts.n[cell, split]}: {' '.join(map(str, wrong))}"
                for (cell, pair, split), wrong in counts.wrong.items()
            ],
        }
        for study, counts in studies.items()
    }
    write_atomic(path, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())


def read_kept(path: Path) -> dict[str, StudyCounts]:
    """Return the kept counts by study; LmcError if the file cannot be read."""
    fix = "restore it, or write it again with `lmc check-lock --keep`"
    kept = read_json(path, fix)
    try:
        return {study: _kept(entry) for study, entry in kept.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LmcError(f"{path}: not kept counts ({' '.join(str(error).split())}); {fix}") from None


def _kept(entry: Mapping[str, Any]) -> StudyCounts:
    wrong: dict[tuple[str, str, SplitName], tuple[int, ...]] = {}
    n: dict[tuple[str, SplitName], int] = {}
    for line in entry["wrong"]:
        place, _, counts = line.partition(": ")
        cell, pair, name, images = place.split(" ")
        split = {str(split): split for split in SPLITS}[name]
        wrong[cell, pair, split] = tuple(map(int, counts.split()))
        n[cell, split] = int(images)
    return StudyCounts(entry["numerics"], entry["torch"], float(entry["threshold"]), entry["md5"], n, wrong)


def _of_cell(counts: StudyCounts, cell: str) -> dict[tuple[str, SplitName], tuple[int, ...]]:
    return {(pair, split): wrong for (key, pair, split), wrong in counts.wrong.items() if key == cell}


def _mean(counts: StudyCounts, cell: str, split: SplitName) -> float | None:
    """Return the mean of Eq. 1 over a cell's pairs, in points, whether or not their ends count as trained."""
    paths = [wrong for (key, _, part), wrong in counts.wrong.items() if (key, part) == (cell, split)]
    return statistics.fmean(mean_barrier(wrong) * 100.0 / counts.n[cell, split] for wrong in paths) if paths else None


def _by_barrier(mean: float | None, threshold: float) -> Verdict | None:
    return None if mean is None else judge_barrier(mean, threshold)


def _points(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
