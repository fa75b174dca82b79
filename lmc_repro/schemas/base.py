"""The base of every schema: unknown keys and wrong types are errors, values do not change after validation."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and does not convert types (a YAML `"60"` is not the number 60)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _whole(value: int | float) -> int | float:
    return int(value) if value == int(value) else value  # 2.0 and 2 are one mark, and one fingerprint


def _increasing(values: tuple[int | float, ...]) -> tuple[int | float, ...]:
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"found {list(values)}, must increase strictly")
    return values


# YAML has lists only; a tuple keeps a frozen model hashable.
Mark = Annotated[int | float, Field(ge=0, allow_inf_nan=False), AfterValidator(_whole)]
"""A moment of a run in epochs: 0 is the initialisation, 0.5 the middle of the first epoch."""
Marks = Annotated[tuple[Mark, ...], Field(strict=False, min_length=1), AfterValidator(_increasing)]
"""Moments at which a run is evaluated and stored, strictly increasing."""


def mark_text(mark: float) -> str:
    """Return a mark as files write it: 2 is `2`, 0.5 is `0.5`, never with an exponent."""
    return str(int(mark)) if mark == int(mark) else format(Decimal(repr(mark)), "f")


def parse_mark(text: str) -> int | float:
    """Return the mark that a file wrote: `2` is the integer 2, `0.5` a float; ValueError for what is no mark."""
    mark = float(text)
    if not math.isfinite(mark) or mark < 0:
        raise ValueError(f"found {text!r}, a mark is a number of epochs")
    return _whole(mark)


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text, and so equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
