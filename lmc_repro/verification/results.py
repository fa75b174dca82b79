"""Results of a study, and the same files recomputed: from its run folders, from curves.csv, from measured paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.common.progress import part
from lmc_repro.common.project import Project
from lmc_repro.config.study import Judgement
from lmc_repro.pipeline.workspace import Listener
from lmc_repro.results.pairs import ends_problem, judged_cell, judged_pair
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import CellRecord, PairRecord, RunRecord
from lmc_repro.results.write import curves_of, pair_record, results_files, run_record
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
        self.judgement = judgement.model_copy(update={"threshold": self.study.threshold})
        self.by_key = {cell.key: cell for cell in self.study.cells}
        self.pairs: dict[PairName, tuple[CellRecord, PairRecord]] = {
            (cell.key, pair.pair): (cell, pair) for cell in self.study.cells for pair in cell.pairs
        }
        self.curves = self.study.curves_by_pair()

    def folder(self, fingerprint: str) -> RunFolder:
        return RunFolder(self.place.runs / fingerprint)

    def recomputed(self, name: PairName) -> PairResult:
        """Return a pair judged from curves.csv, with its runs' status files as far as these can be read."""
        cell, pair = self.pairs[name]
        statuses = {}
        for fingerprint in pair.fingerprints:
            try:
                statuses[fingerprint] = {"diverged_epoch": self.folder(fingerprint).status()["diverged_epoch"]}
            except (LmcError, KeyError, TypeError):
                statuses[fingerprint] = {"diverged_epoch": None}
        return judged_pair(pair, self.curves[name], cell.config, statuses)

    def judged(self, cell: CellRecord, pairs: Mapping[PairName, PairResult]) -> CellResult:
        """Return a cell from its pairs, judged by the results' threshold."""
        return judged_cell(cell.config, self.judgement, [pairs[cell.key, pair.pair] for pair in cell.pairs])

    def check(
        self,
        tally: Tally,
        name: str,
        runs: Sequence[RunRecord] | None = None,
        cells: Mapping[str, CellResult] | None = None,
        pairs: Mapping[PairName, PairResult] | None = None,
    ) -> None:
        """Compare a file with its bytes recomputed from runs, cells or pairs; name the first key that differs."""
        study = self.study
        if runs is not None:
            study = replace(study, runs=tuple(runs))
        if cells is not None:
            study = replace(study, cells=tuple(_remade(cell, cells.get(cell.key)) for cell in study.cells))
        if pairs is not None:
            of_cell = {cell.key: [pairs[cell.key, pair.pair] for pair in cell.pairs] for cell in study.cells}
            study = replace(study, curves=curves_of(of_cell))
        path, made = self.place.results / name, results_files(study)[name]
        recorded = path.read_bytes()
        told = None if recorded == made else f"{path}: {explain(name, recorded, made)}; {self.place.fix}"
        tally.add(name, told)


def _remade(cell: CellRecord, result: CellResult | None) -> CellRecord:
    if result is None:
        return cell
    return replace(cell, pairs=tuple(map(pair_record, result.pairs)), summary=result.summary)


def check_runs(results: Results, tally: Tally, listener: Listener) -> set[str]:
    """Check every run folder that runs.json names, and runs.json against them.

    Returns:
        The fingerprints of the runs whose files are all as recorded.
    """
    whole, made = set(), []
    entries = results.study.runs
    with part(listener, f"checking {len(entries)} run folders", len(entries)):
        for entry in entries:
            listener.advance(1, entry.fingerprint)
            folder = results.folder(entry.fingerprint)
            missing = f"{folder.path}: no finished run, which {results.place.results / 'runs.json'} names; {folder.fix}"
            if not tally.add("run folders", folder.damage() if folder.is_complete() else missing):
                made.append(entry)
                continue
            try:
                made.append(run_record(folder, entry.cell, folder.config(), folder.status()))
            except KeyError as error:
                raise LmcError(f"{folder.status_file}: no {error}; {folder.fix}") from None
            whole.add(folder.fingerprint)
    results.check(tally, "runs.json", runs=made)
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
    sound = {cell.key for cell in results.study.cells if cell.fingerprints <= whole}
    aligns = {cell.key: cell.path.align for cell in results.study.cells}
    for (cell, _), pair in pairs.items():
        if cell in sound:
            problem = ends_problem(results.place.runs, results.study.numerics, pair, aligns[cell])
            tally.add("ends of paths", problem and f"{results.place.results / 'curves.csv'}: cell {cell}: {problem}")
    made = {cell.key: results.judged(cell, pairs) for cell in results.study.cells if cell.key in sound}
    results.check(tally, "cells.json", cells=made)
    return pairs, made
