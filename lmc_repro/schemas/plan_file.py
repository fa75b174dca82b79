"""A plan as plain JSON: what a machine without a reader of YAML is given in place of params.yaml."""

from __future__ import annotations

from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.schemas.load import validate
from lmc_repro.schemas.plan import Cell, Pair, StudyPlan
from lmc_repro.schemas.run import RunConfig, Seeds
from lmc_repro.schemas.study import ProfileConfig, StudyConfig

PLAN_VERSION = 1
"""Raised by any change of the form below: a plan is read by the version that wrote it."""


def plan_to_json(plan: StudyPlan) -> dict[str, Any]:
    """Return a plan as plain JSON values; `plan_from_json` gives back its equal."""
    return {
        "version": PLAN_VERSION,
        "study": plan.study,
        "profile": plan.profile,
        # What was not written down stays unwritten: where a number comes from is asked of written ones only.
        "study_config": plan.study_config.model_dump(mode="json", exclude_unset=True),
        "profile_config": plan.profile_config.model_dump(mode="json", exclude_unset=True),
        "cells": [_cell_to_json(cell) for cell in plan.cells],
    }


def plan_from_json(value: Any, name: str) -> StudyPlan:
    """Return the plan that a JSON value holds; LmcError, which begins with the file's `name`, if it is none."""
    try:
        if (found := value["version"]) != PLAN_VERSION:
            raise LmcError(f"{name}: version {found!r}, this program reads {PLAN_VERSION}; write the plan anew")
        return StudyPlan(
            study=_text(value["study"]),
            profile=_text(value["profile"]),
            study_config=validate(StudyConfig, value["study_config"], f"{name}: study_config"),
            profile_config=validate(ProfileConfig, value["profile_config"], f"{name}: profile_config"),
            cells=tuple(_cell_from_json(cell, f"{name}: cells") for cell in value["cells"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LmcError(f"{name}: is not a plan ({_said(error)}); write it anew with `lmc plan`") from None


def _cell_to_json(cell: Cell) -> dict[str, Any]:
    pairs = [
        {
            "name": pair.name,
            "trainer_seed": pair.trainer_seed,
            "runs": [run.seeds.model_dump(mode="json", exclude_unset=True) for run in pair.runs],
        }
        for pair in cell.pairs
    ]
    return {**vars(cell), "pairs": pairs}


def _cell_from_json(value: dict[str, Any], name: str) -> Cell:
    template = validate(RunConfig, {**value["config"], "seeds": value["pairs"][0]["runs"][0]}, f"{name}: config")
    pairs = []
    for pair in value["pairs"]:
        first, second = (_run(template, seeds, name) for seeds in pair["runs"])
        pairs.append(Pair(_text(pair["name"]), int(pair["trainer_seed"]), (first, second)))
    texts = {key: _text(value[key]) for key in ("key", "row", "column", "row_label", "column_label")}
    if value["pair_kind"] not in ("noise", "init"):
        raise ValueError(f"pair_kind {value['pair_kind']!r}")
    return Cell(
        **texts,
        config=template.without_seeds(),
        pair_kind=value["pair_kind"],
        pairs=tuple(pairs),
        loader="resident" if value["loader"] == "resident" else "ffcv",
        paper=value["paper"],
        uses=tuple(value["uses"]),
    )


def _run(template: RunConfig, seeds: Any, name: str) -> RunConfig:
    values = {**template.without_seeds(), "seeds": validate(Seeds, seeds, f"{name}: seeds")}
    return validate(RunConfig, values, name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
