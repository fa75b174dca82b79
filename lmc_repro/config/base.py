"""The base of every schema: unknown keys and wrong types are errors, values do not change after validation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and does not convert types (a YAML `"60"` is not the number 60)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _one_line(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value):
        raise ValueError(f"found {value!r:.100}, allowed: one line, without control characters")
    return value


# DVC reads a dot in a key as a path, and MLflow refuses @ and =.
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=bounds.NAME)]
Line = Annotated[str, StringConstraints(max_length=bounds.LINE), AfterValidator(_one_line)]
"""A label, a title, a sentence."""
Pairs = Annotated[int, Field(ge=1, le=bounds.RUNS)]
Epochs = Annotated[int, Field(ge=1, le=bounds.EPOCHS)]
BatchSize = Annotated[int, Field(ge=1, le=bounds.BATCH)]
Size = Annotated[int, Field(ge=1, le=bounds.SIZE)]
Rate = Annotated[float, Field(ge=0.0, le=bounds.RATE)]
Positive = Annotated[float, Field(gt=0.0, le=bounds.RATE)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _whole(value: int | float) -> int | float:
    return int(value) if value == int(value) else value  # 2.0 and 2 are one evaluation epoch, and one fingerprint


def _increasing(values: tuple[int | float, ...]) -> tuple[int | float, ...]:
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"found {list(values)}, must increase strictly")
    return values


# YAML has lists only; a tuple keeps a frozen model hashable.
EvaluationEpoch = Annotated[int | float, Field(ge=0, le=bounds.EPOCHS, allow_inf_nan=False), AfterValidator(_whole)]
"""An evaluation epoch: 0 is the initialisation, 0.5 the middle of the first epoch."""
EvaluationEpochs = Annotated[
    tuple[EvaluationEpoch, ...],
    Field(strict=False, min_length=1, max_length=bounds.EVALUATION_EPOCHS),
    AfterValidator(_increasing),
]
"""Evaluation epochs, at which a run is evaluated and stored, strictly increasing."""


def epoch_text(epoch: float) -> str:
    """Return an evaluation epoch as files write it: 2 is `2`, 0.5 is `0.5`, never with an exponent."""
    return str(int(epoch)) if epoch == int(epoch) else format(Decimal(repr(epoch)), "f")


def parse_epoch(text: str) -> int | float:
    """Parse an evaluation epoch from a file: `2` is the integer 2, `0.5` a float; ValueError for anything else."""
    epoch = float(text)
    if not math.isfinite(epoch) or epoch < 0:
        raise ValueError(f"found {text!r}, an evaluation epoch is a number of epochs")
    return _whole(epoch)


def epochs_within(evaluations: Sequence[float], steps_per_epoch: int) -> dict[int, dict[int, float]]:
    """Return {epoch (from 0): {steps done in it: at_epoch}} for the evaluation epochs that are not whole numbers.

    Evaluation epoch m comes after m x steps_per_epoch steps of the run, rounded half up, but at least one step after
    the epoch began and one before it ends. LmcError where an epoch is a single step, or two fall on one step.
    """
    found: dict[int, dict[int, float]] = {}
    for at_epoch in evaluations:
        if at_epoch == int(at_epoch):
            continue
        epoch = int(at_epoch)
        if steps_per_epoch < 2:
            raise LmcError(
                f"evaluate_at and batch: found {epoch_text(at_epoch)}, but an epoch is one step, with nothing within "
                "it; give whole epochs"
            )
        # Decimal: 0.145 x 100 is 14.5, though not in floating point
        exact = (Decimal(repr(at_epoch)) - epoch) * steps_per_epoch
        step = min(max(int(exact.quantize(Decimal(1), ROUND_HALF_UP)), 1), steps_per_epoch - 1)
        there = found.setdefault(epoch, {})
        if step in there:
            raise LmcError(
                f"evaluate_at and batch: found {epoch_text(there[step])} and {epoch_text(at_epoch)}, both at step "
                f"{step} of {steps_per_epoch} in epoch {epoch + 1}; leave one out"
            )
        there[step] = at_epoch
    return found


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text, and so equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
