"""This folder against the committed dvc.lock: per stage from hashes, per cell where the locked counts can be had."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.project import Project
from lmc_repro.proof.counts import (
    FILE,
    CellDifference,
    StudyCounts,
    difference_line,
    differing_cells,
    read_counts,
    read_kept,
)
from lmc_repro.proof.lock import Stage, compare_locks, locked_file, locked_md5
from lmc_repro.report.read import FILES

SHOWN = 12


@dataclass(frozen=True)
class StudyDifference:
    """A study whose curves are not the locked ones; `cells` is None where the locked counts cannot be had."""

    study: str
    cells: tuple[CellDifference, ...] | None
    total: int
    locked_with: str | None
    made_with: str


@dataclass(frozen=True)
class CheckedLock:
    """All stages, and the studies with other curves."""

    stages: tuple[Stage, ...]
    studies: tuple[StudyDifference, ...]

    @property
    def same(self) -> bool:
        return all(stage.state == "as locked" for stage in self.stages)


def check_lock(project: Project, locked: Mapping[str, Any], here: Mapping[str, Any], cache: Path) -> CheckedLock:
    """Compare two locks, `here` that of the results in the project's folder; LmcError for damaged results."""
    stages = tuple(compare_locks(locked, here))
    kept_file = project.root / FILE
    kept = read_kept(kept_file) if kept_file.is_file() else {}
    studies = []
    for stage in stages:
        kind, _, study = stage.name.partition("@")
        path = f"results/{study}/curves.csv"
        if kind != "compare" or path not in stage.outs or not (project.results / study / "curves.csv").is_file():
            continue
        now = read_counts(project.results / study)
        then = _from_cache(locked, study, cache)
        if then is None and study in kept and kept[study].md5 == locked_md5(locked, path):
            then = kept[study]
        cells = None if then is None else tuple(differing_cells(then, now))
        total = len({cell for cell, _, _ in now.wrong})
        with_then = None if then is None else f"{then.numerics}, torch {then.torch}"
        studies.append(StudyDifference(study, cells, total, with_then, f"{now.numerics}, torch {now.torch}"))
    return CheckedLock(stages, tuple(studies))


def lock_lines(found: CheckedLock) -> list[str]:
    """Return what was found for people: stages that differ, cells that differ, the answer last."""
    lines = []
    for stage in found.stages:
        if stage.state != "as locked":
            outs = f": {', '.join(stage.outs)}" if stage.outs else ""
            lines.append(f"{stage.name}: {stage.state}{outs}")
            if stage.inputs:
                lines.append(f"  made from other inputs than the lock's: {', '.join(stage.inputs)}")
    for study in found.studies:
        lines += _study_lines(study)
    same = sum(stage.state == "as locked" for stage in found.stages)
    return [*lines, f"{same} of {len(found.stages)} stages have the locked outputs"]


def _study_lines(found: StudyDifference) -> list[str]:
    if found.cells is None:
        why = f"neither DVC's cache nor {FILE} has the locked curves: only that they differ can be said"
        return [f"{found.study}, made here with {found.made_with}: {why}"]
    who = f"locked with {found.locked_with}, here {found.made_with}"
    if not found.cells:
        return [f"{found.study}, {who}: the counts at the last epoch are equal; losses or earlier epochs differ"]
    lines = [f"{found.study}, {who}: {len(found.cells)} of {found.total} cells have other counts at the last epoch"]
    lines += [f"  {difference_line(cell)}" for cell in found.cells[:SHOWN]]
    return lines + ([f"  and {len(found.cells) - SHOWN} more; --json lists all"] if len(found.cells) > SHOWN else [])


def _from_cache(locked: Mapping[str, Any], study: str, cache: Path) -> StudyCounts | None:
    files = {name: locked_file(locked, f"results/{study}/{name}", cache) for name in FILES}
    if None in files.values():
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, file in files.items():
            assert file is not None
            shutil.copyfile(file, Path(folder) / name)
        return read_counts(Path(folder))
