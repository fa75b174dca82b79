"""Verifies a study without training: its files, its runs in MLflow, and the paths between the stored weights."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lmc_repro.barriers.pair import EVALUATION_NUMERICS
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag, torch_version
from lmc_repro.common.project import Project
from lmc_repro.config.study import Judgement
from lmc_repro.data.status import folder_of, require_ready
from lmc_repro.engine.local import default_jobs
from lmc_repro.pipeline.workspace import Listener, prepared_dir
from lmc_repro.tracking.find import Reader
from lmc_repro.verification.differences import Check, Tally
from lmc_repro.verification.results import Results, check_cells, check_runs, find_places
from lmc_repro.verification.store import StoredStudy, check_pairs, check_trainings, measure_again


@dataclass(frozen=True)
class Verification:
    """Places, counted checks, problems, and what was left out and why."""

    study: str
    profile: str
    places: tuple[str, ...]
    checks: tuple[Check, ...]
    problems: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float

    def lines(self) -> list[str]:
        """Return the verification for people: counts, what was left out, a line per problem, and the answer."""
        lines = [f"{self.study}, profile {self.profile}: {' and '.join(self.places)}"]
        for check in self.checks:
            wrong = "" if check.equal == check.total else "  WRONG"
            lines.append(f"  {check.name:<22} {check.equal} of {check.total}{wrong}")
        lines += [f"  left out: {reason}" for reason in self.left_out]
        lines += [f"problem: {problem}" for problem in self.problems]
        count = len(self.problems)
        return [*lines, f"{count or 'no'} problem{'' if count == 1 else 's'} in {self.seconds:.0f} s"]


def verify_study(
    project: Project, study: str, profile: str, judgement: Judgement, quick: bool, listener: Listener
) -> Verification:
    """Check all of a study's results, DVC's and those of `lmc run`. Writes nothing.

    Args:
        project: The project with the results, the runs and the store.
        study: The study's key in params.yaml.
        profile: The profile of the results.
        judgement: The profile's rules for verdicts.
        quick: Leave out measuring the paths again.
        listener: Receives the progress.

    Raises:
        LmcError: There are no results.
    """
    begun, tally, left_out = time.monotonic(), Tally(), list[str]()
    places, reader = find_places(project, study, profile), None
    try:
        reader = Reader.open(project.root)
    except LmcError as error:
        tally.find(str(error))
    for place in places:
        try:
            left_out += _verify(project, Results(place, judgement), quick, reader, tally, listener)
        except LmcError as error:
            tally.find(str(error))  # a file that all the rest of the place needs
    return Verification(
        study,
        profile,
        tuple(str(place.results) for place in places),
        tally.checks,
        tuple(finding.text for finding in tally.findings),
        tuple(dict.fromkeys(left_out)),
        time.monotonic() - begun,
    )


def _verify(
    project: Project, results: Results, quick: bool, reader: Reader | None, tally: Tally, listener: Listener
) -> list[str]:
    """Check one place; return what was left out and why."""
    intact = check_runs(results, tally, listener)
    pairs, cells = check_cells(results, intact, tally)
    if reader is None:
        return ["MLflow and the paths between its weights: there is no store that can be read"]
    stored, study = StoredStudy(reader, results), results.study
    check_trainings(stored, intact, tally, listener)
    check_pairs(stored, pairs, cells, tally, listener)
    conditions = {
        "numerics": (study.numerics, numerics_tag()),
        "torch": (study.torch, torch_version()),
        "EVALUATION_NUMERICS": (study.evaluation_numerics, EVALUATION_NUMERICS),
    }
    others = [f"{name} {there}, here {here}" for name, (there, here) in conditions.items() if there != here]
    if why := "--quick" if quick else others and f"they were made with {' and '.join(others)}":
        return [f"paths measured again: {why}"]
    prepared = prepared_dir(project, [entry.name for entry in study.datasets])
    for entry in study.datasets:
        digest = str(require_ready(prepared, entry.name).get("digest"))
        if digest != entry.digest:
            recorded = f"digest {digest[:12]}, the results are of {entry.digest[:12]}"
            fix = f"run `lmc prepare {entry.name}`, or {results.place.fix}"
            raise LmcError(f"{folder_of(prepared, entry.name)}: {recorded}; {fix}")
    measured, left_out = measure_again(stored, prepared, default_jobs(), tally, listener)
    again = pairs | measured
    results.check(tally, "curves.csv", pairs=again)
    made = {key: results.judged(cell, again) for key, cell in results.by_key.items() if key in cells}
    results.check(tally, "cells.json", cells=made)
    return left_out
