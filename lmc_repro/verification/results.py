"""Results of a study, and the same files recomputed: from its run folders, from curves.csv, from measured paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.compare.files import CURVE_COLUMNS, RunRecord, curves_csv, measured_record
from lmc_repro.compare.stored import judged_pair
from lmc_repro.data.catalog import dataset_info
from lmc_repro.errors import LmcError
from lmc_repro.files import json_bytes, read_json
from lmc_repro.progress import part
from lmc_repro.project import Project
from lmc_repro.report.read import has_results, read_study
from lmc_repro.schemas.study import Judgement
from lmc_repro.studies.compare import ends_problem
from lmc_repro.studies.publish import curves_by_pair
from lmc_repro.studies.workspace import Listener
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.verification.differences import Tally, csv_values, first_difference, json_values

PairName = tuple[str, str]
"""Cell and pair."""


@dataclass(frozen=True)
class Place:
    """Where a study's results lie, and its runs; `fix` is the command that makes the results again."""

    results: Path
    runs: Path
    fix: str


def find_places(project: Project, study: str, profile: str) -> list[Place]:
    """Return DVC's results of a study and those of `lmc run`, where they are of this profile; LmcError if none are."""
    out = project.out / profile / study
    places = [
        Place(project.results / study, project.runs / study, f"run `lmc compare {study}`"),
        Place(out / "results" / study, out / "runs", f"run `lmc run {study} --profile {profile}` as before"),
    ]
    found = [place for place in places if has_results(place.results)]
    # A runs.json that cannot be read is reported later: it is a problem of the place, and not another profile's.
    found = [place for place in found if _profile(place) in (None, profile)]
    if not found:
        looked = " and ".join(str(place.results) for place in places)
        raise LmcError(f"{study}, profile {profile}: no results in {looked}; run `lmc run {study} --profile {profile}`")
    return found


def _profile(place: Place) -> str | None:
    try:
        return str(read_json(place.results / "runs.json", place.fix)["profile"])
    except (LmcError, KeyError, TypeError):
        return None


class Results:
    """The three files of a results folder; LmcError that names the one that is damaged."""

    def __init__(self, place: Place, judgement: Judgement) -> None:
        """Read a place; of `judgement`, the profile's, the threshold is the results' own."""
        self.place, self.study = place, read_study(place.results)
        self.runs, self.cells = (read_json(place.results / name, place.fix) for name in ("runs.json", "cells.json"))
        self.judgement = judgement.model_copy(update={"threshold": float(self.study.threshold)})
        self.pairs: dict[PairName, tuple[dict[str, Any], dict[str, Any]]] = {
            (cell["cell"], pair["pair"]): (cell, pair) for cell in self.cells for pair in cell["pairs"]
        }
        self.by_key = {cell["cell"]: cell for cell in self.cells}
        self.curves = curves_by_pair(self.study)

    def folder(self, fingerprint: str) -> RunFolder:
        return RunFolder(self.place.runs / fingerprint)

    def recomputed(self, name: PairName) -> PairResult:
        """Return a pair judged from curves.csv, with its runs' status files as far as these can be read."""
        cell, pair = self.pairs[name]
        statuses = {}
        for fingerprint in pair["fingerprints"]:
            try:
                statuses[fingerprint] = {"diverged_epoch": self.folder(fingerprint).status()["diverged_epoch"]}
            except (LmcError, KeyError, TypeError):
                statuses[fingerprint] = {"diverged_epoch": None}
        return judged_pair(pair, self.curves[name], cell["config"], statuses)

    def judged(self, cell: Mapping[str, Any], pairs: Mapping[PairName, PairResult]) -> CellResult:
        """Return a cell from its pairs, judged by the results' threshold."""
        classes = dataset_info(cell["config"]["data"]["dataset"]).classes
        return judge_cell([pairs[cell["cell"], pair["pair"]] for pair in cell["pairs"]], self.judgement, classes)

    def difference(self, name: str, made: bytes) -> str | None:
        """Return one line on the first key of a file that differs from its recomputed bytes; None for equal bytes."""
        path = self.place.results / name
        if (recorded := path.read_bytes()) == made:
            return None
        keys = CURVE_COLUMNS[1:6]  # all but the study
        there, here = (csv_values(c, keys) if name == "curves.csv" else json_values(c) for c in (recorded, made))
        return f"{path}: {first_difference(there, here)}; {self.place.fix}"

    def cells_json(self, results: Mapping[str, CellResult]) -> bytes:
        """Return cells.json with all that follows from the paths recomputed, for the cells of `results`."""
        known = {key: measured_record(result) for key, result in results.items()}
        return json_bytes([{**cell, **known.get(cell["cell"], {})} for cell in self.cells])

    def curves_csv(self, pairs: Mapping[PairName, PairResult]) -> bytes:
        """Return the curves.csv of these pairs."""
        of_cell = {c["cell"]: [pairs[c["cell"], pair["pair"]] for pair in c["pairs"]] for c in self.cells}
        return curves_csv(str(self.study.study), of_cell)


def check_runs(results: Results, tally: Tally, listener: Listener) -> set[str]:
    """Check every run folder that runs.json names, and runs.json against them.

    Returns:
        The fingerprints of the runs whose files are all as recorded.
    """
    whole, made = set(), []
    entries = results.runs["runs"]
    with part(listener, f"checking {len(entries)} run folders", len(entries)):
        for entry in entries:
            listener.advance(1, entry["fingerprint"])
            folder = results.folder(entry["fingerprint"])
            missing = f"{folder.path}: no finished run, which {results.place.results / 'runs.json'} names; {folder.fix}"
            if not tally.add("run folders", folder.damage() if folder.is_complete() else missing):
                made.append(entry)
                continue
            try:
                made.append(RunRecord.of(folder, entry["cell"], folder.config(), folder.status()).entry())
            except KeyError as error:
                raise LmcError(f"{folder.status_file}: no {error}; {folder.fix}") from None
            whole.add(folder.fingerprint)
    tally.add("runs.json", results.difference("runs.json", json_bytes({**results.runs, "runs": made})))
    return whole


def check_cells(
    results: Results, whole: set[str], tally: Tally
) -> tuple[dict[PairName, PairResult], dict[str, CellResult]]:
    """Check the ends of every path against the runs' metrics.csv, and cells.json against curves.csv.

    Returns:
        Every pair as curves.csv has it, and every cell whose run folders are all `whole`: others cannot be judged,
        since their runs may have diverged.
    """
    pairs = {name: results.recomputed(name) for name in results.pairs}
    sound = {cell["cell"] for cell in results.cells if {f for p in cell["pairs"] for f in p["fingerprints"]} <= whole}
    for (cell, _), pair in pairs.items():
        if cell in sound:
            problem = ends_problem(results.place.runs, results.study.numerics, pair)
            tally.add("ends of paths", problem and f"{results.place.results / 'curves.csv'}: cell {cell}: {problem}")
    made = {cell["cell"]: results.judged(cell, pairs) for cell in results.cells if cell["cell"] in sound}
    tally.add("cells.json", results.difference("cells.json", results.cells_json(made)))
    return pairs, made
