"""Schema of results/<study>/: the contents of runs.json, cells.json, curves.csv and planes.csv, as dataclasses.

Fields have the names of the files' keys, with these exceptions: `cell` is `key` here, and a cell's or a pair's numbers
under `train` and `test` are dictionaries by split here. The files hold no run ids, dates or durations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import CellSummary, Plane
from lmc_repro.barriers.status import EndpointStatus
from lmc_repro.config.path import PLAIN_PATH, PathConfig, PlaneConfig
from lmc_repro.config.plan import COMMON, Epochs
from lmc_repro.config.study import Show

VERSION = 2
"""`version` of runs.json, raised by any change of keys; files without one are of version 1 (`mid_signed`)."""

FILES = ("runs.json", "cells.json", "curves.csv")
PLANES = "planes.csv"
"""A fourth file, where a cell asks for a plane."""
CURVE_COLUMNS = ("study", "cell", "pair", "epoch", "split", "alpha", "wrong", "n", "loss")
"""After them stand the means of path metrics: empty where a cell has no such metric, `nan` where one is not finite."""

PLANE_COLUMNS = ("study", "cell", "run", "x", "y", "split", "wrong", "n", "loss")
"""`run` is a fingerprint in the rows of the three runs themselves, and empty on the grid."""

NOT_CONVERGED = "not_converged"
"""A flag that is added to a cell's flags when it is read, see `not_converged`."""

CONVERGED_PERCENT = 0.1
"""The train error up to which a network counts as converged: the paper speaks of about zero training loss."""

CurveKey = tuple[str, str, float, SplitName]
"""Cell, pair, epoch (0.5 is the middle of the first one), split."""

PaperTable = Mapping[tuple[str, str], Mapping[str, float] | None]
"""(row, column) -> the paper's {"test": points, "train": points}, or None where the paper prints nothing."""


@dataclass(frozen=True)
class Axis:
    """A row or a column of a study. `dataset`: the one that the study itself names there; `varies`: its base's key."""

    key: str
    label: str
    dataset: str | None = None
    varies: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """Cells that the profile leaves out, and why; None stands for every row or column."""

    rows: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    label: str
    why: str

    def covers(self, row: str, column: str) -> bool:
        """Return whether it leaves out this cell."""
        return row in (self.rows or (row,)) and column in (self.columns or (column,))


@dataclass(frozen=True)
class DatasetRecord:
    """A data set that the study ran on."""

    name: str
    title: str
    n_train: int
    n_test: int
    classes: int
    digest: str


@dataclass(frozen=True)
class RunRecord:
    """A run: seeds, checksums, and the scores of its last epoch as shares.

    `augmentation_sha256` and `stack` are absent from the file where nothing was augmented, and on a CPU.
    """

    fingerprint: str
    cell: str
    trainer: int
    loader: int
    augmentation: int | None
    diverged_epoch: int | float | None
    init_sha256: str | None
    order_sha256: str
    final_sha256: str
    train_error: float | None
    test_error: float | None
    early: dict[str, Any] | None = None
    augmentation_sha256: str | None = None
    stack: list[Any] | None = None


@dataclass(frozen=True)
class Measured:
    """Measurements of a pair beside its curves, see `barriers.results.PairResult`."""

    pair: str
    trainer_seed: int
    fingerprints: tuple[str, str]
    largest_class: int
    distance: float | None
    cosine: float | None
    disagreement: dict[SplitName, float]
    epochs: Epochs = field(default=COMMON, kw_only=True)
    permutations: dict[str, str] | None = field(default=None, kw_only=True)


MEASURED = tuple(field.name for field in fields(Measured))


@dataclass(frozen=True)
class PairRecord(Measured):
    """A pair at its last epoch. Barriers are None where an endpoint is not trained; `errors` (points) are not.

    `epochs` is absent from the file where both ends are taken at `epoch`, `permutations` where nothing was aligned.
    """

    status: tuple[EndpointStatus, EndpointStatus]
    epoch: int | float
    barriers: dict[SplitName, Barriers | None]
    errors: dict[SplitName, tuple[float, float]]


@dataclass(frozen=True)
class CellRecord:
    """A cell: config without seeds, its pairs, the summary of each split, and the paper's number.

    `path` is absent from the file where its paths are plain, `plane` where no plane was asked for.
    """

    key: str
    row: str
    column: str
    row_label: str
    column_label: str
    config: dict[str, Any]
    pair_kind: str
    n_trainer_seeds: int
    n_runs: int
    parameters: int
    paper: dict[str, float] | None
    pairs: tuple[PairRecord, ...]
    summary: dict[SplitName, CellSummary]
    path: PathConfig = PLAIN_PATH
    plane: PlaneConfig | None = None

    @property
    def plane_runs(self) -> tuple[str, ...]:
        """The runs of its plane: the first three of its pairs, in their order, each once."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in pair.fingerprints))[:3]

    @property
    def fingerprints(self) -> frozenset[str]:
        """The runs that the cell is made of."""
        return frozenset(name for pair in self.pairs for name in pair.fingerprints)


@dataclass(frozen=True)
class StudyResults:
    """All of a study under one profile.

    Threshold in points; `provenance` holds (key, value, source); `dataset` is the one that the study itself names,
    before a profile replaces it (or an axis does); `not_run` the reason by cell key, `planes` the planes by it.
    """

    study: str
    title: str
    question: str
    profile: str
    profile_title: str
    analogue: bool
    datasets: tuple[DatasetRecord, ...]
    threshold: float
    points: int
    device: str
    numerics: str
    torch: str
    training_numerics: int
    evaluation_numerics: int
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    provenance: tuple[tuple[str, Any, Any], ...]
    runs: tuple[RunRecord, ...]
    cells: tuple[CellRecord, ...]
    curves: dict[CurveKey, Curve]
    dataset: str | None = None
    show: Show | None = None
    left_out: tuple[LeftOut, ...] = ()
    not_run: dict[str, str] = field(default_factory=dict)
    planes: dict[str, Plane] = field(default_factory=dict)

    @property
    def sources(self) -> list[tuple[str, Any, str]]:
        """The hyper-parameters that a source is given for, as (key, value, source)."""
        return [entry for entry in self.provenance if entry[2] is not None]

    def own_dataset(self, row: str, column: str) -> str | None:
        """Return the data set that the study itself names for a cell: the paper's."""
        for axis, key in ((self.rows, row), (self.columns, column)):
            for entry in axis:
                if entry.key == key and entry.dataset is not None:
                    return entry.dataset
        return self.dataset

    def curves_by_pair(self) -> dict[tuple[str, str], dict[float, dict[SplitName, Curve]]]:
        """Return the curves of each (cell, pair), by epoch and split."""
        found: dict[tuple[str, str], dict[float, dict[SplitName, Curve]]] = {}
        for (cell, pair, epoch, split), curve in self.curves.items():
            found.setdefault((cell, pair), {}).setdefault(epoch, {})[split] = curve
        return found


def not_converged(cell: CellRecord) -> bool:
    """Return whether a ReLU network under SGD on MNIST ends with a train error above 0.1 %: the paper's do not.

    Ends that did not train are left out: their pairs have no verdict.
    """
    config = cell.config
    relu = config["model"].get("slope") == 0.0  # logistic regression and attention have no slope
    if not (relu and config["optimizer"]["kind"] == "sgd" and config["data"]["dataset"] == "mnist"):
        return False
    return any(
        error > CONVERGED_PERCENT
        for pair in cell.pairs
        for status, error, own in zip(pair.status, pair.errors["train"], pair.epochs, strict=True)
        if status == "trained" and own is None
    )
