"""The workspace of one study: its folders, numerics, progress listener and engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_repro.common.files import sha256_bytes
from lmc_repro.common.numerics import choose_mode, numerics_tag
from lmc_repro.common.progress import Listener
from lmc_repro.common.project import Project
from lmc_repro.config.params import Params
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.data.status import read_status
from lmc_repro.engine.devices import resolve_device
from lmc_repro.pipeline.runs import available
from lmc_repro.tracking.store import take_project_run
from lmc_repro.training.run_folder import Keep

if TYPE_CHECKING:  # its implementations import torch
    from lmc_repro.engine.protocol import Engine

__all__ = [
    "Listener",
    "Workspace",
    "begin_process",
    "mirror_of",
    "prepared_dir",
    "process_tag",
    "resolve_device",
    "study_lock",
]


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

    def keep_runs(self, fingerprints: Iterable[str]) -> None:
        """Remove all other folders from `runs`, so that it holds only the study's present runs."""
        self.runs.mkdir(parents=True, exist_ok=True)
        wanted = set(fingerprints)
        for old in self.runs.iterdir():
            if old.is_dir() and old.name not in wanted:
                shutil.rmtree(old)

    def available(self) -> tuple[list[Cell], dict[str, str], dict[str, str]]:
        """Return the cells that can be run, the digests of their data sets, and why the others are not run."""
        return available(self.plan, self.prepared)


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
    from lmc_repro.common.locks import hold

    named: set[str] = set()

    def say_once(holder: str) -> None:
        if holder not in named:
            named.add(holder)
            listener.line(f"waiting for {holder}, which works on {folder}; what it makes is used")

    path = str(folder.resolve())
    with hold(project.working / "studies" / f"{folder.name}-{sha256_bytes(path.encode())[:12]}.lock", say_once):
        yield


def process_tag(device: str) -> str:
    """Return the numerics tag of this process."""
    return numerics_tag(device)


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
