"""Names and identities in the store: tags, runs, experiments, colours.

Names hold letters, digits and `_ - . / :` and spaces only: MLflow refuses @ and =. Its run table shows the first 18
characters of a name, so the part that distinguishes runs comes first.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from lmc_repro.config.plan import Cell, StudyPlan
    from lmc_repro.config.run import Seeds
    from lmc_repro.results.schema import CellRecord, RunRecord

Kind = Literal["cell", "train", "pair"]
T = TypeVar("T")

KIND = "lmc.kind"
STUDY = "lmc.study"
PROFILE = "lmc.profile"
CELL = "lmc.cell"
ROW = "lmc.row"
COLUMN = "lmc.column"
CELL_ID = "lmc.cell_id"
FINGERPRINT = "lmc.fingerprint"
PAIR_KEY = "lmc.pair_key"
REUSED_FROM = "lmc.reused_from"
PROJECT_RUN = "lmc.project_run"
PROCESS = "lmc.process"
WRITER = "lmc.writer"
"""The project's folder that made a run, in stores that several folders may share."""

DIGEST = "lmc.data_digest"
NUMERICS = "lmc.numerics"
TORCH = "lmc.version.torch"
CONTENT = "lmc.content"
SHA256 = "lmc.sha256"
WEIGHTS = "lmc.weights"
"""On trainings and pairs whose weights, or all but the last, were left on the machine that trained them."""

PAIR_EPOCHS = "pair_epochs"
"""A parameter of pairs whose ends have epochs of their own."""

NOT_KEPT = "not kept"
LAST_KEPT = "last kept"

PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
SOURCE = "mlflow.source.type"
NOTE = "mlflow.note.content"
COLOUR = "mlflow.runColor"
ARTIFACT_VIEWS = "mlflow.loggedArtifacts"

KEY_TAG: dict[str, str] = {"cell": CELL_ID, "train": FINGERPRINT, "pair": PAIR_KEY}
"""The tag by which a run of each kind is found again within its cell."""

OLD_METRICS = {
    f"{metric}/{split}{old}": f"{metric}/{split}{new}"
    for split in ("train", "test")
    for metric, old, new in (
        ("barrier", "_mean", ""),
        ("barrier", "_line_mean", "_line"),
        ("barrier", "_norm_pct_mean", "_norm_pct"),
        ("barrier_over_training", "_mean", ""),
    )
}
"""Means of a cell as an earlier version named them, and their names now, which are those of a pair's numbers."""

MODEL_TYPE = "lmc-checkpoint"
EXPERIMENT_PREFIX = "lmc/"


def identity_of(tags: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return kind, cell's identity and own key, by which a run is found again; None for a run that is not ours."""
    tag = KEY_TAG.get(tags.get(KIND, ""))
    return (tags[KIND], tags.get(CELL_ID, ""), tags.get(tag, "")) if tag else None


def renamed(metrics: Mapping[str, T]) -> dict[str, T]:
    """Return metrics under today's names; where a cell was published by both versions, the later one's."""
    now = {name: value for name, value in metrics.items() if name not in OLD_METRICS}
    return {OLD_METRICS[name]: value for name, value in metrics.items() if name in OLD_METRICS} | now


def experiment_name(plan: StudyPlan) -> str:
    return f"{EXPERIMENT_PREFIX}{plan.study}/{plan.profile}"


def cell_name(cell: Cell) -> str:
    """Return the cell's key with the column first."""
    return f"{cell.column} {cell.row}"


def seeds_name(seeds: Seeds | RunRecord) -> str:
    """Return the seeds: trainer, loader and, where there is one, augmentation."""
    numbers = [seeds.trainer, seeds.loader] + ([] if seeds.augmentation is None else [seeds.augmentation])
    return f"seeds {'-'.join(str(number) for number in numbers)}"


def train_name(cell: Cell, seeds: Seeds) -> str:
    return f"{seeds_name(seeds)} {cell_name(cell)}"


def pair_name(cell: Cell, pair: str) -> str:
    return f"pair {pair} {cell_name(cell)}"


def cell_colour(plan: StudyPlan, cell: Cell) -> str:
    """Return `#rrggbb`, another one for each cell of the study however the plan is narrowed; columns share a hue."""
    rows, columns = list(plan.study_config.rows), list(plan.study_config.columns)
    position = columns.index(cell.column) * len(rows) + rows.index(cell.row)
    lightness = (0.36, 0.50, 0.64)[position % 3]
    red, green, blue = colorsys.hls_to_rgb(position / (len(rows) * len(columns)), lightness, 0.75)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def cell_identity(cell: Cell | CellRecord, data_digest: str, numerics: str, torch: str | None = None) -> str:
    """Return 16 hex digits over key, config, data, torch version, TRAINING_NUMERICS and the numerics tag.

    The settings of the cell's paths are in it where they are not plain, those of its plane where it asks for one. The
    number of pairs is not: more pairs of a cell are added to the same run.
    """
    from lmc_repro.common.files import sha256_bytes
    from lmc_repro.common.numerics import torch_version
    from lmc_repro.config.base import canonical_json
    from lmc_repro.config.path import plane_given
    from lmc_repro.training.fingerprint import TRAINING_NUMERICS

    identity = {
        "cell": cell.key,
        "config": cell.config,
        "data": data_digest,
        "numerics": numerics,
        "torch": torch or torch_version(),
        "training_numerics": TRAINING_NUMERICS,
        **({"path": given} if (given := cell.path.given()) else {}),
        **({"plane": grid} if (grid := plane_given(cell.plane)) else {}),
    }
    return sha256_bytes(canonical_json(identity).encode())[:16]
