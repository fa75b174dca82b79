"""data/plans: the resolved params.yaml, one file per study and exhibit; a DVC stage reruns when its own changes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_json
from lmc_repro.config.exhibit import BatchesExhibit
from lmc_repro.config.expand import plan_study
from lmc_repro.config.load import read_yaml
from lmc_repro.config.own_code import own_files, pinned
from lmc_repro.config.params import Params
from lmc_repro.config.path import plane_given
from lmc_repro.config.plan import COMMON, StudyPlan
from lmc_repro.exhibits.batches import shown_dataset

OF_THE_PROFILE = {"title", "analogue", "numerics", "device", "points", "judgement"}
"""Fields of a profile that enter the files of every study, whatever its cells are."""


def write_plans(params: Params, folder: Path) -> None:
    """Write `folder`/<key>.json of every study and exhibit under the active profile, and remove all others."""
    plans = {study: _study(plan_study(params, study)) for study in params.studies}
    plans |= {key: _exhibit(key, params) for key in params.exhibits}
    for old in folder.glob("*.json"):
        if old.stem not in plans:
            old.unlink()
    for key, plan in plans.items():
        write_json(folder / f"{key}.json", plan)


def require_listed(folder: Path, stages: Path) -> None:
    """Check that dvc.yaml names the plans' files of one's own: DVC remakes plans only for files that it knows.

    Args:
        folder: The plans.
        stages: dvc.yaml; nothing is asked where there is none.

    Raises:
        LmcError: If stage `check` does not depend on one of the files.
    """
    plans = [json.loads(plan.read_text("utf-8")) for plan in folder.glob("*.json")]
    own = own_files(json.dumps(plans, ensure_ascii=False))
    if own and stages.exists() and (missing := sorted(own - set(read_yaml(stages)["stages"]["check"]["deps"]))):
        raise LmcError(
            f"{stages.name}: stages.check.deps: missing {', '.join(missing)}; add it, so that an edit of the file "
            "makes its studies again"
        )


def _study(plan: StudyPlan) -> dict[str, Any]:
    """Return all inputs of runs/<study> and results/<study>: resolved cells, their sources, words, verdict rules."""
    profile = plan.profile_config
    drops = [override for override in profile.overrides if override.drop and plan.study in override.study]
    cells = [{**_fields(cell), "pairs": [_fields(pair) for pair in cell.pairs]} for cell in plan.cells]
    for cell in cells:
        del cell["uses"]  # `provenance` has their values
        if path := cell.pop("path").given():
            cell["path"] = path
        if grid := plane_given(cell.pop("plane")):
            cell["plane"] = grid
        for pair in cell["pairs"]:
            pair["trainer_seed"] = pair["runs"][0].seeds.trainer
            if pair["epochs"] == COMMON:
                del pair["epochs"]
            pair["seeds"] = [run.seeds.model_dump(mode="json") for run in pair.pop("runs")]
    return {
        "study": plan.study,
        "profile": plan.profile,
        "study_config": plan.study_config.model_dump(mode="json", exclude={"callbacks"}, exclude_defaults=True),
        "profile_config": profile.model_dump(mode="json", include=OF_THE_PROFILE),
        "provenance": plan.provenance(),
        "left_out": [override.model_dump(mode="json", include={"row", "column", "why"}) for override in drops],
        "cells": cells,
    }


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _exhibit(key: str, params: Params) -> dict[str, Any]:
    """Return all inputs of results/<exhibit>, except those that it reads from results."""
    exhibit = params.exhibits[key]
    found = exhibit.model_dump(mode="json")
    if "dataset" in found:
        found["dataset"] = pinned(found["dataset"])
    return {
        "exhibit": key,
        "profile": params.profile,
        "analogue": params.profiles[params.profile].analogue,
        "exhibit_config": found,
        "dataset": pinned(shown_dataset(exhibit, params)) if isinstance(exhibit, BatchesExhibit) else None,
    }
