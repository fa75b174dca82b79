"""Where a project keeps its files: the nearest folder, upwards, with a params.yaml of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.common.errors import LmcError

PARAMS = "params.yaml"

_OURS = re.compile(r"""(?:^|[{,])\s*["']?(?:profiles|studies)["']?\s*:""", re.MULTILINE)
"""One of the two tables that no params.yaml of ours is without; a search, since a damaged file is ours too."""

_DVC_EXPERIMENTS = (".dvc", "tmp", "exps")
_NO_SCM = re.compile(r"^\s*no_scm\s*=\s*true", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Project:
    """The folders of one project; nothing is created here."""

    root: Path

    @property
    def home(self) -> Path:
        """The folder of the MLflow store, of `.lmc` and of downloads: `root`, or the project that DVC copied to `root`.

        DVC runs queued experiments in copies in `.dvc/tmp/exps`, and removes them when they end.
        """
        parts = self.root.parts
        for i in range(len(parts) - 3, 0, -1):
            if parts[i : i + 3] == _DVC_EXPERIMENTS:
                # A copy is of the whole git repository, in which the project may be a folder.
                tails = (Path(*parts[:i], *parts[j:]) for j in range(i + 3, len(parts) + 1))
                return next(filter(is_project, tails), self.root)
        return self.root

    @property
    def params(self) -> Path:
        return self.root / PARAMS

    @property
    def raw(self) -> Path:
        """Publishers' files as downloaded, in torchvision's layout."""
        return self.home / "data" / "raw"

    @property
    def prepared(self) -> Path:
        """One folder per data set: train and test as .beton and .safetensors, and status.json."""
        return self.root / "data" / "prepared"

    @property
    def working(self) -> Path:
        """Git-ignored store: runs by fingerprint, locks, resume files."""
        return self.home / ".lmc"

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
    """Return the project that holds `start` (default: the working folder); LmcError if there is none.

    A params.yaml with neither `profiles` nor `studies` is that of another program, and is passed over.
    """
    here = (start or Path.cwd()).resolve()
    foreign = None
    for folder in (here, *here.parents):
        if is_project(folder):
            return Project(folder)
        if foreign is None and (folder / PARAMS).is_file():
            foreign = folder / PARAMS
    start_here = "`lmc init DIR` makes a project"
    if foreign is not None:
        raise LmcError(f"{foreign}: found neither profiles nor studies, so it is no {PARAMS} of lmc; {start_here}")
    raise LmcError(f"{here}: no {PARAMS} here or in a folder above; {start_here}")


def is_project(folder: Path) -> bool:
    """Return whether a folder has a params.yaml of ours, or one that cannot be read, which its reader reports."""
    file = folder / PARAMS
    try:
        return file.is_file() and _OURS.search(file.read_text("utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return True


def missing_git(project: Project) -> str | None:
    """Return one line, `found; fix`, if `dvc repro` would refuse the project for want of a git repository, else None.

    A project without `.dvc` does not use DVC; `core.no_scm` tells DVC that there is no repository.
    """
    root = project.root
    if not (root / ".dvc").is_dir() or any((folder / ".git").exists() for folder in (root, *root.parents)):
        return None
    configs = (root / ".dvc" / name for name in ("config", "config.local"))
    if any(_NO_SCM.search(config.read_text("utf-8")) for config in configs if config.is_file()):
        return None
    without = "dvc config --local core.no_scm true"
    return f"{root}: not a git repository, which `dvc repro` needs; `git init`, or without git `{without}`"
