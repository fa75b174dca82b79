"""The cells of a plan that can be run, their runs, each once, and the fingerprints of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.own_code import short_name
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.data.status import read_status, require_ready
from lmc_repro.training.fingerprint import data_identity, run_fingerprint


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study: its cell and fingerprint."""

    cell: Cell
    config: RunConfig
    fingerprint: str


def planned_runs_of(
    cells: Sequence[Cell], digests: Mapping[str, str], numerics: str, torch: str | None = None
) -> list[PlannedRun]:
    """Return the runs of the cells, each once and with the first cell that it belongs to, and their fingerprints.

    `numerics` is the tag, `torch` the version (default: the installed one), of the process that trains them.
    """
    found: dict[str, PlannedRun] = {}
    for cell in cells:
        name = cell.config["data"]["dataset"]
        data = data_identity(dataset_info(name), digests[name])
        for config in cell.runs:
            fingerprint = run_fingerprint(config, data, numerics, torch)
            found.setdefault(fingerprint, PlannedRun(cell, config, fingerprint))
    return list(found.values())


def available(plan: StudyPlan, prepared: Path) -> tuple[list[Cell], dict[str, str], dict[str, str]]:
    """Return the cells that can be run, the digests of their data sets, and why the others are not run."""
    cells, digests, not_run = [], {}, {}
    for cell in plan.cells:
        name = cell.config["data"]["dataset"]
        status = read_status(prepared, name) or require_ready(prepared, name)
        if status["state"] == "ready":
            cells.append(cell)
            digests[name] = str(status["digest"])
        else:
            not_run[cell.key] = f"data set {short_name(name)} is {status['state']}: {status.get('reason')}"
    return cells, digests, not_run
