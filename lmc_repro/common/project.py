"""Where a project keeps its files: the nearest folder, upwards, with a params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmc_repro.common.errors import LmcError

PARAMS = "params.yaml"


@dataclass(frozen=True)
class Project:
    """The folders of one project, all below `root`; nothing is created here."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / PARAMS

    @property
    def raw(self) -> Path:
        """Publishers' files as downloaded, in torchvision's layout."""
        return self.root / "data" / "raw"

    @property
    def prepared(self) -> Path:
        """One folder per data set: train and test as .beton and .safetensors, and status.json."""
        return self.root / "data" / "prepared"

    @property
    def working(self) -> Path:
        """Git-ignored store: runs by fingerprint, locks, resume files."""
        return self.root / ".lmc"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def out(self) -> Path:
        """Output folder of `lmc run`, apart from DVC's outputs."""
        return self.root / "out"


def find_project(start: Path | None = None) -> Project:
    """Return the project that holds `start` (default: the working folder); LmcError if there is none."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PARAMS).is_file():
            return Project(folder)
    raise LmcError(f"{here}: no {PARAMS} here or in a folder above; `lmc init DIR` makes a project")
