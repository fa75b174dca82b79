"""What params.yaml comes to, a file for each study and exhibit: a stage of DVC is made again when its own changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lmc_repro.exhibits.batches import shown_dataset
from lmc_repro.files import write_json
from lmc_repro.schemas.exhibit import BatchesExhibit
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.plan import Cell, StudyPlan
from lmc_repro.studies.expand import plan_study


def write_plans(params: Params, folder: Path) -> None:
    """Write `folder`/<key>.json of every study and exhibit under the active profile, and remove all others."""
    plans = {study: _study(plan_study(params, study)) for study in params.studies}
    plans |= {key: _exhibit(key, params) for key in params.exhibits}
    for old in folder.glob("*.json"):
        if old.stem not in plans:
            old.unlink()
    for key, plan in plans.items():
        write_json(folder / f"{key}.json", plan)


def _study(plan: StudyPlan) -> dict[str, Any]:
    profile = plan.profile_config
    own = tuple(
        override.model_copy(update={"study": (plan.study,)})
        for override in profile.overrides
        if plan.study in override.study
    )
    return {
        "study": plan.study,
        "profile": plan.profile,
        "study_config": plan.study_config.model_dump(mode="json"),
        "profile_config": profile.model_copy(update={"overrides": own}).model_dump(mode="json"),
        "cells": [_cell(cell) for cell in plan.cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    found = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    pairs = [
        {
            "name": pair.name,
            "trainer_seed": pair.trainer_seed,
            "seeds": [run.seeds.model_dump(mode="json") for run in pair.runs],
        }
        for pair in cell.pairs
    ]
    return {**found, "pairs": pairs}


def _exhibit(key: str, params: Params) -> dict[str, Any]:
    exhibit = params.exhibits[key]
    return {
        "exhibit": key,
        "profile": params.profile,
        "analogue": params.profiles[params.profile].analogue,
        "exhibit_config": exhibit.model_dump(mode="json"),
        "dataset": shown_dataset(exhibit, params) if isinstance(exhibit, BatchesExhibit) else None,
    }
