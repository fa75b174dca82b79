"""Results of a study, and the same files recomputed: from its run folders, from curves.csv, from measured paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.compare.files import RunRecord, curves_csv, measured_record
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
from lmc_repro.verification.differences import Tally, explain

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
    out, command = project.out / profile / study, f"run `lmc run {study} --profile {profile}`"
    places = [
        Place(project.results / study, project.runs / study, f"run `lmc compare {study}`"),
        Place(out / "results" / study, out / "runs", f"{command} as before"),
    ]

    def of_profile(place: Place) -> bool:
        try:
            return bool(read_json(place.results / "runs.json", place.fix)["profile"] == profile)
        except (LmcError, KeyError, TypeError):
            return True  # reported later: a problem of the place, not another profile's results

    found = [place for place in places if has_results(place.results) and of_profile(place)]
    if not found:
        looked = " and ".join(str(place.results) for place in places)
        raise LmcError(f"{study}, profile {profile}: no results in {looked}; {command}")
    return found


class Results:
    """The three files of a results folder; LmcError that names the one that is damaged."""

    def __init__(self, place: Place, judgement: Judgement) -> None:
        """Read a place; of `judgement`, the profile's, the threshold is the results' own."""
        self.place, self.study = place, read_study(place.results)
        self.runs, self.cells = (read_json(place.results / name, place.fix) for name in ("runs.json", "cells.json"))
        self.judgement = judgement.model_copy(update={"threshold": float(self.study.threshold)})
        self.curves = curves_by_pair(self.study)
        self.pairs: dict[PairName, dict[str, Any]] = {(c["cell"], p["pair"]): p for c in self.cells for p in c["pairs"]}

    def folder(self, fingerprint: str) -> RunFolder:
        return RunFolder(self.place.runs / fingerprint)

    def of_curves(self) -> dict[PairName, PairResult]:
        """Return every pair judged from curves.csv, with its runs' status files as far as these can be read."""
        diverged = {}
        for fingerprint in {fingerprint for pair in self.pairs.values() for fingerprint in pair["fingerprints"]}:
            try:
                diverged[fingerprint] = {"diverged_epoch": self.folder(fingerprint).status()["diverged_epoch"]}
            except (LmcError, KeyError, TypeError):
                diverged[fingerprint] = {"diverged_epoch": None}
        configs = {cell["cell"]: cell["config"] for cell in self.cells}
        return {n: judged_pair(p, self.curves[n], configs[n[0]], diverged) for n, p in self.pairs.items()}

    def judged(self, pairs: Mapping[PairName, PairResult], cells: set[str]) -> dict[str, CellResult]:
        """Return those `cells` from their pairs, judged by the results' threshold."""
        return {
            key: judge_cell(
                [pairs[key, pair["pair"]] for pair in cell["pairs"]],
                self.judgement,
                dataset_info(cell["config"]["data"]["dataset"]).classes,
            )
            for cell in self.cells
            if (key := cell["cell"]) in cells
        }

    def check(self, name: str, made: bytes, tally: Tally) -> None:
        """Compare a file with its recomputed bytes; a problem is one line on the first key that differs."""
        path = self.place.results / name
        recorded = path.read_bytes()
        told = None if recorded == made else f"{path}: {explain(name, recorded, made)}; {self.place.fix}"
        tally.add(name, told)

    def check_cells_json(self, results: Mapping[str, CellResult], tally: Tally) -> None:
        """Compare cells.json with all that follows from the paths recomputed, for the cells of `results`."""
        known = {key: measured_record(result) for key, result in results.items()}
        made = [{**cell, **known.get(cell["cell"], {})} for cell in self.cells]
        self.check("cells.json", json_bytes(made), tally)

    def check_curves_csv(self, pairs: Mapping[PairName, PairResult], tally: Tally) -> None:
        """Compare curves.csv with that of these pairs."""
        of_cell = {c["cell"]: [pairs[c["cell"], pair["pair"]] for pair in c["pairs"]] for c in self.cells}
        self.check("curves.csv", curves_csv(str(self.study.study), of_cell), tally)


def check_runs(results: Results, tally: Tally, listener: Listener) -> set[str]:
    """Check every run folder that runs.json names, and runs.json against them.

    Returns:
        The fingerprints of the runs whose files are all as recorded.
    """
    intact, made, entries = set(), [], results.runs["runs"]
    with part(listener, f"checking {len(entries)} run folders", len(entries)):
        for entry in entries:
            listener.advance(1, entry["fingerprint"])
            folder = results.folder(entry["fingerprint"])
            missing = f"{folder.path}: no finished run, which {results.place.results / 'runs.json'} names; {folder.fix}"
            if tally.add("run folders", folder.damage() if folder.is_complete() else missing):
                try:
                    entry = RunRecord.of(folder, entry["cell"], folder.config(), folder.status()).entry()
                except KeyError as error:
                    raise LmcError(f"{folder.status_file}: no {error}; {folder.fix}") from None
                intact.add(folder.fingerprint)
            made.append(entry)
    results.check("runs.json", json_bytes({**results.runs, "runs": made}), tally)
    return intact


def check_cells(
    results: Results, intact: set[str], tally: Tally
) -> tuple[dict[PairName, PairResult], dict[str, CellResult]]:
    """Check the ends of every path against the runs' metrics.csv, and cells.json against curves.csv.

    Returns:
        Every pair as curves.csv has it, and every cell whose run folders are all `intact`: others cannot be judged,
        since their runs may have diverged.
    """
    pairs = results.of_curves()
    sound = {c["cell"] for c in results.cells if intact.issuperset(f for p in c["pairs"] for f in p["fingerprints"])}
    for (cell, _), pair in pairs.items():
        if cell in sound:
            problem = ends_problem(results.place.runs, results.study.numerics, pair)
            tally.add("ends of paths", problem and f"{results.place.results / 'curves.csv'}: cell {cell}: {problem}")
    made = results.judged(pairs, sound)
    results.check_cells_json(made, tally)
    return pairs, made
