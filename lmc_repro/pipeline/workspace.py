"""The workspace of one study: its folders, numerics, progress listener and engine; the runs that its cells need."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json, sha256_bytes
from lmc_repro.common.locks import hold
from lmc_repro.common.numerics import choose_mode
from lmc_repro.common.progress import Listener
from lmc_repro.common.project import Project
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.own_code import short_name
from lmc_repro.config.params import Params
from lmc_repro.config.path import plane_given
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.data.status import read_status, require_ready
from lmc_repro.tracking.store import take_project_run
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import Keep, RunFolder

if TYPE_CHECKING:  # its implementations import torch
    from lmc_repro.engine.protocol import Engine


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study: its cell and fingerprint."""

    cell: Cell
    config: RunConfig
    fingerprint: str


def planned_runs(
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


@dataclass(frozen=True)
class Workspace:
    """One study under way. `tag` is the numerics tag of fingerprints; `device` cpu or cuda, never auto.

    Without `tracked` MLflow is neither imported nor written; `keep`: the checkpoints that stay in `runs` and go there.
    `engine` trains and measures; None: `jobs` processes of this machine.
    """

    project: Project
    plan: StudyPlan
    runs: Path
    results: Path
    prepared: Path
    jobs: int
    device: str
    tag: str
    listener: Listener
    tracked: bool = True
    keep: Keep = "all"
    engine: Engine | None = None

    @property
    def store(self) -> Path:
        """The working store: every run of this project by fingerprint, finished or under way."""
        return self.project.working / "runs"

    def available(self) -> tuple[list[Cell], dict[str, str], dict[str, str]]:
        """Return the cells that can be run, the digests of their data sets, and why the others are not run."""
        cells, digests, not_run = [], {}, {}
        for cell in self.plan.cells:
            name = cell.config["data"]["dataset"]
            status = read_status(self.prepared, name) or require_ready(self.prepared, name)
            if status["state"] == "ready":
                cells.append(cell)
                digests[name] = str(status["digest"])
            else:
                not_run[cell.key] = f"data set {short_name(name)} is {status['state']}: {status.get('reason')}"
        return cells, digests, not_run

    def without_unfinished(self, chosen: set[str]) -> Workspace:
        """Return the workspace without the cells besides the chosen ones that would have to be trained."""
        cells, digests, _ = self.available()
        ready = {cell.key for cell in cells if all(map(self._is_finished, planned_runs([cell], digests, self.tag)))}
        kept = tuple(cell for cell in self.plan.cells if cell.key in chosen | ready)
        return dataclasses.replace(self, plan=dataclasses.replace(self.plan, cells=kept))

    def _is_finished(self, run: PlannedRun) -> bool:
        stored = RunFolder(self.store / run.fingerprint)
        return stored.is_complete() and not stored.damage()


def with_earlier(plan: StudyPlan, whole: StudyPlan, results: Path) -> StudyPlan:
    """Return the plan with the cells of the whole one that a results folder has, of the same config and pairs.

    Args:
        plan: The chosen cells.
        whole: All cells under the same settings, in their order.
        results: The folder of an earlier call; damaged files, or none, hold no cells.
    """
    try:
        made = read_json(results / "runs.json", "")
        there = {entry["cell"]: _of_record(entry) for entry in read_json(results / "cells.json", "")}
        same = (made["study"], made["profile"]) == (plan.study, plan.profile)
    except (LmcError, KeyError, TypeError):
        return plan
    chosen = {cell.key for cell in plan.cells}
    kept = [cell for cell in whole.cells if cell.key in chosen or (same and there.get(cell.key) == _of_cell(cell))]
    return dataclasses.replace(plan, cells=tuple(kept)) if len(kept) > len(chosen) else plan


def _of_record(entry: dict[str, Any]) -> Any:
    return entry["config"], [pair["pair"] for pair in entry["pairs"]], entry.get("path", {}), entry.get("plane", {})


def _of_cell(cell: Cell) -> Any:
    names = [pair.name for pair in cell.pairs]
    return json.loads(json.dumps(cell.config)), names, cell.path.given(), plane_given(cell.plane)


def begin_process(params: Params, profile: str, listener: Listener) -> None:
    """Set this process's and its workers' environment; call it before torch is imported and any worker starts.

    Sets the numerics mode, and removes the variables of an MLflow project's run that may have started us.
    """
    take_project_run()
    _, remark = choose_mode(params.profiles[profile].numerics)
    if remark:
        listener.line(remark)


@contextmanager
def study_lock(project: Project, folder: Path, listener: Listener) -> Iterator[None]:
    """Hold an exclusive lock on a study's folders, named by one of them; report whom we wait for.

    Runs are shared among studies and have locks of their own, see engine.task.
    """
    named: set[str] = set()

    def say_once(holder: str) -> None:
        if holder not in named:
            named.add(holder)
            listener.line(f"waiting for {holder}, which works on {folder}; what it makes is used")

    path = str(folder.resolve())
    with hold(project.working / "studies" / f"{folder.name}-{sha256_bytes(path.encode())[:12]}.lock", say_once):
        yield


def mirror_of(params: Params) -> Path | None:
    """Return the folder with publishers' files: LMC_DATA_MIRROR, or data.mirror of params.yaml, or None."""
    configured = os.environ.get("LMC_DATA_MIRROR") or params.data.mirror
    return Path(configured).expanduser() if configured else None


def prepared_dir(project: Project, datasets: Iterable[str]) -> Path:
    """Return the data folder of `lmc run`: DVC's if all are ready there, else one of its own.

    Only DVC writes its outputs: it would count other writes as changes.
    """
    statuses = [read_status(project.prepared, name) for name in datasets]
    ready = all(status is not None and status["state"] == "ready" for status in statuses)
    return project.prepared if ready else project.working / "prepared"
