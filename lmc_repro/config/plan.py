"""What a study comes to: its cells, their runs and pairs, resolved and ready to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.config.study import PairKind, ProfileConfig, StudyConfig


@dataclass(frozen=True)
class Pair:
    """Two runs of one cell; theta_0 is `runs[0]`, the lower seeds."""

    name: str
    trainer_seed: int
    runs: tuple[RunConfig, RunConfig]


@dataclass(frozen=True)
class Cell:
    """One entry of a table or point of a figure.

    `paper` holds the printed barriers {"test": points, "train": points}, or None where nothing is printed.
    `config` is what its runs share: RunConfig without seeds, as plain JSON values. `uses` names the profile's
    hyper-parameters that it resolves to: settings that nothing above them replaces, an optimizer, a batch size.
    `path` says how the paths of its pairs are made, objects of one's own pinned.
    """

    key: str
    row: str
    column: str
    row_label: str
    column_label: str
    config: dict[str, Any]
    pair_kind: PairKind
    pairs: tuple[Pair, ...]
    loader: LoaderKind
    paper: dict[str, float] | None
    uses: tuple[str, ...] = ()
    path: PathConfig = PLAIN_PATH

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """The runs of all pairs, each once, in order."""
        return tuple(dict.fromkeys(run for pair in self.pairs for run in pair.runs))


@dataclass(frozen=True)
class StudyPlan:
    """A study under a profile."""

    study: str
    profile: str
    study_config: StudyConfig
    profile_config: ProfileConfig
    cells: tuple[Cell, ...]

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """Every run that the study needs, each once."""
        return tuple(dict.fromkeys(run for cell in self.cells for run in cell.runs))

    @property
    def callbacks(self) -> tuple[str, ...]:
        """What is called at evaluation epochs: the profile's and the study's, each once."""
        return tuple(dict.fromkeys((*self.profile_config.callbacks, *self.study_config.callbacks)))

    def provenance(self) -> list[dict[str, Any]]:
        """Return key, value and source of each hyper-parameter of the profile that a cell or a verdict rests on."""
        used = {leaf for cell in self.cells for leaf in cell.uses}
        return [
            {"key": key, "value": value, "source": self.profile_config.source(key)}
            for key, value in self.profile_config.hyper_parameters().items()
            if key in used or key.startswith("judgement.")
        ]
