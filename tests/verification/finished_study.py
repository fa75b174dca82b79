"""A project with a finished study, a pair of real runs on the digits, and a second that reuses and aligns them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from trained_store import write_params, write_prepared

from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.progress import Lines
from lmc_repro.common.project import Project
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.config.study import Settings
from lmc_repro.data.dataset import Dataset
from lmc_repro.pipeline.compare import compare_study
from lmc_repro.pipeline.train import train_study
from lmc_repro.pipeline.workspace import Workspace
from lmc_repro.tracking.find import Reader, StoredRun

LAB = Path(__file__).parents[2] / "examples" / "paths" / "lab.py"
ENVIRONMENT = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN")


@dataclass(frozen=True)
class Finished:
    """Where the studies `one` and `two` lie, each with one pair of the cell `deep--fast`, that of `two` aligned."""

    project: Project

    @property
    def out(self) -> Path:
        return self.project.out / "tiny" / "one"

    @property
    def results(self) -> Path:
        return self.out / "results" / "one"

    def runs(self, kind: str, study: str = "one") -> list[StoredRun]:
        return Reader.open(self.project.root).runs({"lmc.kind": kind, "lmc.study": study})

    def trainings(self, study: str = "one") -> list[str]:
        """Return the run ids of the trainings, theta_0 first."""
        runs = self.runs("train", study)
        return [run.run_id for run in sorted(runs, key=lambda run: int(run.params["seeds.loader"]))]

    def pair(self, study: str = "one") -> str:
        (run,) = self.runs("pair", study)
        return run.run_id

    def cell(self) -> str:
        (run,) = self.runs("cell")
        return run.run_id


def make_finished(root: Path, digits: Dataset) -> Finished:
    """Train and compare both studies below the empty folder `root`."""
    project = Project(root)
    write_params(project)
    write_prepared(project, digits)
    with pytest.MonkeyPatch.context() as patch:
        for name in ENVIRONMENT:
            patch.delenv(name, raising=False)
        patch.chdir(root)
        shutil.copy(LAB, root)
        params = load_params(project.params)
        for study, settings in (("one", Settings()), ("two", Settings(align="lab.py:mirrored"))):
            out = project.out / "tiny" / study
            plan = plan_study(params, study, Choice(rows=("deep",), columns=("fast",), pairs=1, settings=settings))
            results, tag = out / "results" / study, numerics_tag()
            workspace = Workspace(project, plan, out / "runs", results, project.prepared, 1, "cpu", tag, Lines())
            train_study(workspace)
            compare_study(workspace)
    return Finished(project)


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Give a file other bytes for a while; not through links that other folders share."""
    before = path.read_bytes()
    try:
        path.unlink()
        path.write_bytes(content)
        yield
    finally:
        path.unlink()
        path.write_bytes(before)


def flipped(path: Path) -> bytes:
    """Return a file's bytes with one bit flipped, near the end."""
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    return bytes(content)
