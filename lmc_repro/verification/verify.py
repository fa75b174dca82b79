"""Verifies a study without training: its files, its runs in MLflow, and the paths between the stored weights."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lmc_repro.data.status import require_ready
from lmc_repro.errors import LmcError
from lmc_repro.execution.pool import default_jobs
from lmc_repro.numerics import numerics_tag
from lmc_repro.project import Project
from lmc_repro.schemas.profile import ProfileConfig
from lmc_repro.studies.workspace import Listener, prepared_dir
from lmc_repro.tracking.reader import Reader
from lmc_repro.verification.certificate import Check
from lmc_repro.verification.curves import check_curves, why_other_bits
from lmc_repro.verification.folders import check_cells, check_folders
from lmc_repro.verification.results import Place, find_places, read_results
from lmc_repro.verification.store import StoredStudy, check_pairs, check_trainings
from lmc_repro.verification.tally import Tally


@dataclass(frozen=True)
class Verification:
    """What was looked at, where, what is wrong, and what was left out and why."""

    study: str
    profile: str
    places: tuple[str, ...]
    checks: tuple[Check, ...]
    problems: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float


def verify_study(
    project: Project, study: str, profile: str, config: ProfileConfig, quick: bool, listener: Listener
) -> Verification:
    """Check all of a study's results, DVC's and those of `lmc run`; LmcError if there are none.

    `quick` leaves out measuring the paths again. Nothing is written.
    """
    begun = time.monotonic()
    tally, left_out = Tally(), list[str]()
    places = find_places(project, study, profile)
    try:
        reader: Reader | None = Reader.open(project.root)
    except LmcError as error:
        reader = None
        tally.problems.append(str(error))
    for place in places:
        try:
            _verify(project, place, config, quick, reader, tally, left_out, listener)
        except LmcError as error:
            tally.problems.append(str(error))  # a file that all the rest of the place hangs on
    return Verification(
        study,
        profile,
        tuple(str(place.results) for place in places),
        tally.checks,
        tuple(tally.problems),
        tuple(dict.fromkeys(left_out)),
        time.monotonic() - begun,
    )


def _verify(
    project: Project,
    place: Place,
    config: ProfileConfig,
    quick: bool,
    reader: Reader | None,
    tally: Tally,
    left_out: list[str],
    listener: Listener,
) -> None:
    results = read_results(place)
    whole = check_folders(results, tally, listener)
    again = check_cells(results, whole, config.judgement, tally)
    if reader is None:
        left_out.append("MLflow and the paths between its weights: there is no store that can be read")
        return
    stored = StoredStudy(reader, results)
    check_trainings(stored, whole, tally, listener)
    check_pairs(stored, again, tally, listener)
    if quick:
        left_out.append("paths measured again: --quick")
        return
    if why := why_other_bits(results, numerics_tag()):
        left_out.append(f"paths measured again: {why}")
        return
    datasets = [entry["name"] for entry in results.runs["datasets"]]
    prepared = prepared_dir(project, datasets)
    for entry in results.runs["datasets"]:
        digest = str(require_ready(prepared, entry["name"]).get("digest"))
        if digest != entry["digest"]:
            recorded = f"digest {digest[:12]}, the results are of {entry['digest'][:12]}"
            raise LmcError(f"{prepared / entry['name']}: {recorded}; run `lmc prepare {entry['name']}`, or {place.fix}")
    check_curves(stored, prepared, default_jobs(), tally, listener)


def verification_lines(found: Verification) -> list[str]:
    """Return a verification for people: counts, what was left out, a line a problem, and the answer last."""
    lines = [f"{found.study}, profile {found.profile}: {' and '.join(found.places)}"]
    lines += [
        f"  {check.name:<22} {check.equal} of {check.total}" + ("" if check.equal == check.total else "  WRONG")
        for check in found.checks
    ]
    lines += [f"  left out: {what}" for what in found.left_out]
    lines += [f"problem: {problem}" for problem in found.problems]
    count = len(found.problems)
    return [*lines, f"{count or 'no'} problem{'' if count == 1 else 's'} in {found.seconds:.0f} s"]
