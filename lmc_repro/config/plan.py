"""A resolved study: its cells, their runs and pairs, ready to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmc_repro.config.path import PLAIN_PATH, PathConfig, PlaneConfig
from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.config.study import ProfileConfig, StudyConfig

Epochs = tuple[int | float | None, int | float | None]
"""For both ends of a pair: a fixed epoch, or None for every evaluation epoch."""

COMMON: Epochs = (None, None)


def epochs_of(epochs: Epochs, evaluate_at: Sequence[float]) -> tuple[float, ...]:
    """Return a pair's evaluation epochs: the later of its ends' epochs where both are fixed."""
    first, second = epochs
    return tuple(evaluate_at) if first is None or second is None else (max(first, second),)


def ends_at(epochs: Epochs, epoch: float) -> tuple[float, float]:
    """Return the epochs of both ends of a pair at one of its evaluation epochs."""
    first, second = epochs
    return epoch if first is None else first, epoch if second is None else second


@dataclass(frozen=True)
class Pair:
    """The two ends of a path between runs of one cell, theta_0 first: runs, and the epochs of their weights."""

    name: str
    runs: tuple[RunConfig, RunConfig]
    epochs: Epochs = COMMON

    @property
    def trainer_seed(self) -> int:
        """The trainer seed of theta_0: pairs that share it are averaged first."""
        return self.runs[0].seeds.trainer

    @property
    def evaluations(self) -> tuple[float, ...]:
        """The pair's evaluation epochs."""
        return epochs_of(self.epochs, self.runs[0].evaluate_at)


@dataclass(frozen=True)
class Cell:
    """One entry of a table or point of a figure.

    `paper` holds the printed barriers {"test": points, "train": points}, or None where nothing is printed.
    `config` is what its runs share: RunConfig without seeds, as plain JSON values. `uses` names the profile's
    hyper-parameters that it resolves to: settings that nothing above them replaces, an optimizer, a batch size.
    `path` says how the paths of its pairs are made; there and in `pair_kind` objects of one's own are pinned. `plane`
    is the grid on the plane through its first three runs, if there is to be one.
    """

    key: str
    row: str
    column: str
    row_label: str
    column_label: str
    config: dict[str, Any]
    pair_kind: str
    pairs: tuple[Pair, ...]
    loader: LoaderKind
    paper: dict[str, float] | None
    uses: tuple[str, ...] = ()
    path: PathConfig = PLAIN_PATH
    plane: PlaneConfig | None = None

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
        """Callbacks at evaluation epochs: the profile's and the study's, each once."""
        return tuple(dict.fromkeys((*self.profile_config.callbacks, *self.study_config.callbacks)))

    def provenance(self) -> list[dict[str, Any]]:
        """Return key, value and source of each hyper-parameter of the profile that a cell or a verdict uses."""
        used = {leaf for cell in self.cells for leaf in cell.uses}
        return [
            {"key": key, "value": value, "source": self.profile_config.source(key)}
            for key, value in self.profile_config.hyper_parameters().items()
            if key in used or key.startswith("judgement.")
        ]
