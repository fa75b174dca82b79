"""Which runs are named: by a study of params.yaml under any profile, by DVC's folders, by what `lmc run` wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.errors import LmcError
from lmc_repro.files import read_json
from lmc_repro.project import Project
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.run import RunConfig
from lmc_repro.studies.expand import Choice, NoCells, plan_study
from lmc_repro.training.run_folder import RunFolder

FINGERPRINT = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class Named:
    """What must stay: every run of these configs, whatever torch and CPU made it, and every one of these names."""

    configs: frozenset[RunConfig]
    fingerprints: frozenset[str]

    def has(self, folder: RunFolder) -> bool:
        """Whether a run folder is named. One whose config cannot be read is named by its fingerprint only."""
        if folder.fingerprint in self.fingerprints:
            return True
        try:
            return folder.config() in self.configs
        except LmcError:
            return False


def find_named(project: Project, params: Params) -> Named:
    """Return all that is named; LmcError if a study cannot be worked out, since its runs are then not known."""
    configs: set[RunConfig] = set()
    for profile in params.profiles:
        for study in params.studies:
            with suppress(NoCells):  # none of its cells is of this profile
                configs.update(plan_study(params, study, Choice(profile=profile)).runs)
    return Named(frozenset(configs), frozenset(_fingerprints(project)))


def _fingerprints(project: Project) -> Iterator[str]:
    """Yield the runs that lie in DVC's runs and in those of `lmc run`, and those that any results speak of."""
    for folder in (*project.runs.glob("*/*"), *project.out.glob("*/*/runs/*")):
        if FINGERPRINT.fullmatch(folder.name):
            yield folder.name
    for file in (*project.results.glob("*/runs.json"), *project.out.glob("*/*/results/*/runs.json")):
        yield from _of_results(file)


def _of_results(file: Path) -> Iterator[str]:
    """Yield the runs of a comparison; LmcError if it cannot be read: what it names is then not known."""
    fix = "compare the study again, or remove the folder"
    try:
        yield from [str(run["fingerprint"]) for run in read_json(file, fix)["runs"]]
    except (KeyError, TypeError):
        raise LmcError(f"{file}: not the file of a comparison; {fix}") from None
