"""Where one study's files go, what decides the bits of its process, and who is told of its progress."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lmc_repro.data.status import read_status
from lmc_repro.errors import LmcError
from lmc_repro.numerics import choose_mode, numerics_tag
from lmc_repro.project import Project
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.plan import Cell, StudyPlan
from lmc_repro.tracking.environment import take_project_run


class Listener(Protocol):
    """Is told what happens; draws bars on a terminal, prints lines in a log."""

    def line(self, text: str) -> None:
        """Say one line."""
        ...

    def begin(self, title: str, total: float) -> None:
        """A part of the work begins, of `total` units."""
        ...

    def advance(self, units: float, note: str = "") -> None:
        """Some units are done."""
        ...

    def end(self) -> None:
        """The part is over."""
        ...


@dataclass(frozen=True)
class Workspace:
    """One study under way. `tag` is the numerics tag of fingerprints; `device` cpu or cuda, never auto."""

    project: Project
    plan: StudyPlan
    runs: Path
    results: Path
    prepared: Path
    jobs: int
    device: str
    tag: str
    listener: Listener

    @property
    def store(self) -> Path:
        """The working store: every run of this project by fingerprint, finished or under way."""
        return self.project.working / "runs"

    def available(self) -> tuple[list[Cell], dict[str, str], dict[str, str]]:
        """Return the cells that can be run, the digests of their data sets, and why the others are not run."""
        cells, digests, not_run = [], {}, {}
        for cell in self.plan.cells:
            name = cell.config["data"]["dataset"]
            status = read_status(self.prepared, name)
            if status is None:
                raise LmcError(f"{self.prepared / name}: data set {name} is not prepared; run `lmc prepare {name}`")
            if status["state"] == "ready":
                cells.append(cell)
                digests[name] = str(status["digest"])
            else:
                not_run[cell.key] = f"data set {name} is {status['state']}: {status.get('reason')}"
        return cells, digests, not_run


def resolve_device(wanted: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda; LmcError if cuda is wanted and not there."""
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise LmcError("--device cuda: torch sees no GPU here; use --device cpu")
    return "cpu"


def begin_process(params: Params, profile: str, listener: Listener) -> None:
    """Set what this process and its workers inherit; to be called before torch is imported and any worker starts.

    That is the numerics mode, and nothing of the MLflow project's run that may have started us.
    """
    take_project_run()
    _, remark = choose_mode(params.profiles[profile].numerics)
    if remark:
        listener.line(remark)


def process_tag(device: str) -> str:
    """Return the numerics tag of this process."""
    return numerics_tag(device)


def mirror_of(params: Params) -> Path | None:
    """Return the folder with publishers' files: LMC_DATA_MIRROR, or data.mirror of params.yaml, or None."""
    configured = os.environ.get("LMC_DATA_MIRROR") or params.data.mirror
    return Path(configured).expanduser() if configured else None


def prepared_dir(project: Project, datasets: Iterable[str]) -> Path:
    """Return where `lmc run` finds its data: DVC's folder if all are ready there, else one of its own.

    DVC's outputs are never written to outside of DVC: it would count them as changed.
    """
    statuses = [read_status(project.prepared, name) for name in datasets]
    ready = all(status is not None and status["state"] == "ready" for status in statuses)
    return project.prepared if ready else project.working / "prepared"
