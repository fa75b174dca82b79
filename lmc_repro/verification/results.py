"""A results folder and the runs folder beside it, read for verification, and its cells worked out again from curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.compare.pair import judge_mark
from lmc_repro.data.catalog import dataset_info
from lmc_repro.errors import LmcError
from lmc_repro.files import read_json
from lmc_repro.project import Project
from lmc_repro.report.read import has_results, read_study
from lmc_repro.schemas.profile import Judgement
from lmc_repro.training.run_folder import RunFolder

Curves = dict[tuple[str, str, float, SplitName], Curve]


@dataclass(frozen=True)
class Place:
    """Where a study's results lie, and its runs; `fix` is the command that makes the results again."""

    results: Path
    runs: Path
    fix: str


@dataclass(frozen=True)
class Results:
    """A results folder as it is: runs.json, cells.json, and its curves by cell, pair, epoch and split."""

    place: Place
    runs: dict[str, Any]
    cells: list[dict[str, Any]]
    curves: Curves

    def pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield every (cell, pair) of cells.json."""
        for cell in self.cells:
            for pair in cell["pairs"]:
                yield cell, pair

    def marks(self, cell: str, pair: str) -> list[float]:
        """Return the epochs at which a pair was measured."""
        return sorted({epoch for c, p, epoch, _ in self.curves if (c, p) == (cell, pair)})

    def folder(self, fingerprint: str) -> RunFolder:
        return RunFolder(self.place.runs / fingerprint)


def find_places(project: Project, study: str, profile: str) -> list[Place]:
    """Return DVC's results of a study and those of `lmc run`, where they are of this profile; LmcError if none are."""
    out = project.out / profile / study
    places = [
        Place(project.results / study, project.runs / study, f"run `lmc compare {study}`"),
        Place(out / "results" / study, out / "runs", f"run `lmc run {study} --profile {profile}` as before"),
    ]
    found = [place for place in places if has_results(place.results)]
    # A runs.json that cannot be read is told later: it is a problem of the place, and not another profile's.
    found = [place for place in found if _profile(place) in (None, profile)]
    if not found:
        looked = " and ".join(str(place.results) for place in places)
        raise LmcError(f"{study}, profile {profile}: no results in {looked}; run `lmc run {study} --profile {profile}`")
    return found


def read_results(place: Place) -> Results:
    """Return the three files of a comparison; LmcError that names the one that is damaged."""
    curves = read_study(place.results).curves
    runs, cells = (read_json(place.results / name, place.fix) for name in ("runs.json", "cells.json"))
    return Results(place, runs, cells, dict(curves))


def cell_again(
    results: Results,
    cell: Mapping[str, Any],
    diverged: Mapping[str, float | None],
    judgement: Judgement,
) -> CellResult:
    """Return a cell worked out from curves.csv alone; `diverged` gives the epoch of each run by fingerprint.

    What `judgement` says of the threshold is the results' own.
    """
    classes = dataset_info(cell["config"]["data"]["dataset"]).classes
    pairs = []
    for pair in cell["pairs"]:
        first, second = pair["fingerprints"]
        largest_class, marks = pair["largest_class"], []
        for epoch in results.marks(cell["cell"], pair["pair"]):
            curves = {split: results.curves[cell["cell"], pair["pair"], epoch, split] for split in SPLITS}
            marks.append(judge_mark(epoch, curves, (diverged[first], diverged[second]), classes, largest_class))
        measured = (pair["distance"], pair["cosine"], pair["disagreement"])
        ends = ((first, second), largest_class)
        pairs.append(PairResult(pair["pair"], pair["trainer_seed"], *ends, tuple(marks), *measured))
    return judge_cell(pairs, judgement.model_copy(update={"threshold": float(results.runs["threshold"])}), classes)


def _profile(place: Place) -> str | None:
    try:
        return str(read_json(place.results / "runs.json", place.fix)["profile"])
    except (LmcError, KeyError, TypeError):
        return None
