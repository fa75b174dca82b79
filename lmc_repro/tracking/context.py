"""What every writer of runs needs: the open store, the study, and the tags and parameters that all runs carry."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.tracking import names
from lmc_repro.tracking.identity import cell_identity
from lmc_repro.tracking.index import Index
from lmc_repro.tracking.processes import this_process
from lmc_repro.tracking.stored_run import StoredRun

if TYPE_CHECKING:
    from lmc_repro.project import Project
    from lmc_repro.schemas.plan import Cell, StudyPlan
    from lmc_repro.schemas.run import RunConfig
    from lmc_repro.tracking.names import Kind
    from lmc_repro.tracking.store import Store


@dataclass
class Context:
    """An open store and the study that it is open for.

    `logged` holds the (metric, step) known to be in the store, `written` the runs that this process completed there.
    """

    project: Project
    plan: StudyPlan
    digests: Mapping[str, str]
    numerics: str
    project_run: str | None
    store: Store
    index: Index
    torch: str
    logged: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    _originals: dict[str, StoredRun | None] = field(default_factory=dict)
    _locations: dict[str, str] = field(default_factory=dict)

    def digest(self, cell: Cell) -> str:
        """The digest of the data that the cell's runs see."""
        return self.digests[cell.config["data"]["dataset"]]

    def cell_id(self, cell: Cell) -> str:
        return cell_identity(cell, self.digest(cell), self.numerics, self.torch)

    def tags(self, kind: Kind, cell: Cell) -> dict[str, str]:
        """The tags of every run of a cell."""
        return {
            names.KIND: kind,
            names.STUDY: self.plan.study,
            names.PROFILE: self.plan.profile,
            names.CELL: cell.key,
            names.ROW: cell.row,
            names.COLUMN: cell.column,
            names.CELL_ID: self.cell_id(cell),
            "mlflow.source.name": "lmc",
            names.COLOUR: names.cell_colour(self.plan, cell),
            "lmc.data_digest": self.digest(cell),
            "lmc.numerics": self.numerics,
            **versions(),
            "lmc.version.torch": self.torch,
            **git_commit(self.project.root),
        }

    def params(self, cell: Cell, config: RunConfig | None = None) -> dict[str, Any]:
        """The parameters of every run: filters of the UI do not look at parents. Seeds only with `config`."""
        flat = (config or cell.runs[0]).flat()
        where = {"study": self.plan.study, "profile": self.plan.profile, "cell": cell.key, "row": cell.row}
        shared = {name: value for name, value in flat.items() if config or not name.startswith("seeds.")}
        return {**where, "column": cell.column, "pair_kind": cell.pair_kind, **shared}

    def create(self, kind: Kind, cell: Cell, name: str, tags: Mapping[str, str]) -> StoredRun:
        """Create a run with all its tags at once; the caller holds the store's lock and has looked it up."""
        run = self.store.client.create_run(
            self.store.experiment.experiment_id,
            tags={**self.tags(kind, cell), names.PROCESS: this_process(), **tags},
            run_name=name,
        )
        self.logged[run.info.run_id] = set()
        return self.index.add(StoredRun.of(run))

    def adopt(self, run: StoredRun, parent: StoredRun) -> None:
        """Put a run below `parent`, if the cell's run that it was made for is no longer there."""
        if run.tags.get(names.PARENT) != parent.run_id:
            self.store.client.set_tag(run.run_id, names.PARENT, parent.run_id)
            run.tags[names.PARENT] = parent.run_id

    def refresh(self, run: StoredRun) -> StoredRun:
        """Return the run as it stands in the store, its inputs included."""
        return self.index.add(StoredRun.of(self.store.client.get_run(run.run_id)))

    def owner(self, run: StoredRun) -> StoredRun | None:
        """Return the run that holds a training's checkpoints: its own, or a reused one's original (None if gone)."""
        if (wanted := run.tags.get(names.REUSED_FROM)) is None:
            return run
        if wanted not in self._originals:
            asked = self.index.reused_from() | {wanted}
            found = self.index.originals(asked)
            self._originals.update({run_id: found.get(run_id) for run_id in asked})
        return self._originals[wanted]

    def reuse(self, original: StoredRun) -> dict[str, str]:
        """Return the tag by which a new run follows `original`."""
        self._originals[original.run_id] = original
        return {names.REUSED_FROM: original.run_id}

    def location(self, run: StoredRun) -> str:
        """Return the artifact address of a run's experiment."""
        if run.experiment_id not in self._locations:
            experiment = self.store.client.get_experiment(run.experiment_id)
            self._locations[run.experiment_id] = experiment.artifact_location.rstrip("/")
        return self._locations[run.experiment_id]

    def finish(self, run: StoredRun) -> str:
        """Mark a run as finished and return its id."""
        if not run.finished:
            self.store.client.set_terminated(run.run_id, "FINISHED")
            run.status = "FINISHED"
            self.written.add(run.run_id)
        return run.run_id


@cache
def versions() -> dict[str, str]:
    """Return the versions that a reader of a run asks for."""
    from importlib.metadata import version

    from lmc_repro import __version__

    packages = {name: version(name) for name in ("torch", "mlflow", "numpy")}
    return {f"lmc.version.{name}": value for name, value in {**packages, "lmc_repro": __version__}.items()}


@cache
def git_commit(root: Path) -> dict[str, str]:
    """Return the commit that `root` stands at, `-dirty` if tracked files differ from it; nothing without git."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"lmc.git_commit": commit + ("-dirty" if changed else ""), "mlflow.source.git.commit": commit}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
