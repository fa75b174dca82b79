"""Where the hyper-parameters of a cell come from, in one tag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmc_repro.schemas.plan import Cell
    from lmc_repro.schemas.study import ProfileConfig

TAG_LIMIT = 8000  # characters; MLflow cuts a longer tag and only warns


def provenance_tag(profile: ProfileConfig, cell: Cell) -> str:
    """Return JSON {hyper-parameter: "source: remark"} of those that a cell has; without remarks if that is too long."""
    sources = {leaf: profile.source(leaf) for leaf in _leaves(profile, cell)}
    told = {leaf: source for leaf, source in sources.items() if source is not None}
    tag = json.dumps(told, sort_keys=True)
    if len(tag) <= TAG_LIMIT:
        return tag
    short = json.dumps({leaf: source.partition(":")[0] for leaf, source in told.items()}, sort_keys=True)
    return short if len(short) <= TAG_LIMIT else "{}"


def _leaves(profile: ProfileConfig, cell: Cell) -> list[str]:
    optimizer = cell.config["optimizer"]
    named = [key for key, candidate in profile.optimizers.items() if candidate.model_dump(mode="json") == optimizer]
    # A field that the profile leaves at its default has no source of its own.
    given = {key: [name for name in optimizer if name in profile.optimizers[key].model_fields_set] for key in named}
    batches = [key for key, size in profile.batches.items() if size == cell.config["batch_size"]]
    return [
        *(f"settings.{name}" for name in profile.settings.given()),
        *(f"optimizers.{key}.{name}" for key in named for name in given[key]),
        *(f"batches.{key}" for key in batches),
        "judgement.threshold",
        "judgement.min_train_accuracy",
    ]
