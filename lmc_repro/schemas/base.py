"""The base of every schema: unknown keys and wrong types are errors, values do not change after validation."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and does not convert types (a YAML `"60"` is not the number 60)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _increasing(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"found {list(values)}, must increase strictly")
    return values


# YAML has lists only; a tuple keeps a frozen model hashable.
Epoch = Annotated[int, Field(ge=0)]
Marks = Annotated[tuple[Epoch, ...], Field(strict=False, min_length=1), AfterValidator(_increasing)]
"""Epochs at which a run is evaluated and stored, strictly increasing; 0 is the initialisation."""


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text, and so equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
