"""Cells that an earlier call left in an output folder and that have the present settings: their results stay there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.config.path import plane_given
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.pipeline.runs import planned_runs_of
from lmc_repro.pipeline.workspace import Workspace
from lmc_repro.training.run_folder import RunFolder


def with_earlier(plan: StudyPlan, whole: StudyPlan, results: Path) -> StudyPlan:
    """Return the plan with the cells of the whole one that a results folder has, of the same config and pairs.

    Args:
        plan: The chosen cells.
        whole: All cells under the same settings, in their order.
        results: The folder of an earlier call; damaged files, or none, hold no cells.
    """
    try:
        made = read_json(results / "runs.json", "")
        there = {entry["cell"]: _of_record(entry) for entry in read_json(results / "cells.json", "")}
        same = (made["study"], made["profile"]) == (plan.study, plan.profile)
    except (LmcError, KeyError, TypeError):
        return plan
    chosen = {cell.key for cell in plan.cells}
    kept = [cell for cell in whole.cells if cell.key in chosen or (same and there.get(cell.key) == _of_cell(cell))]
    return dataclasses.replace(plan, cells=tuple(kept)) if len(kept) > len(chosen) else plan


def without_unfinished(workspace: Workspace, chosen: set[str]) -> Workspace:
    """Return the workspace without the cells besides the chosen ones that would have to be trained."""
    cells, digests, _ = workspace.available()
    ready = {
        cell.key
        for cell in cells
        if all(_is_finished(workspace, m.fingerprint) for m in planned_runs_of([cell], digests, workspace.tag))
    }
    plan = workspace.plan
    kept = tuple(cell for cell in plan.cells if cell.key in chosen or cell.key in ready)
    return dataclasses.replace(workspace, plan=dataclasses.replace(plan, cells=kept))


def _is_finished(workspace: Workspace, fingerprint: str) -> bool:
    stored = RunFolder(workspace.store / fingerprint)
    return stored.is_complete() and not stored.damage()


def _of_record(entry: dict[str, Any]) -> Any:
    return entry["config"], [pair["pair"] for pair in entry["pairs"]], entry.get("path", {}), entry.get("plane", {})


def _of_cell(cell: Cell) -> Any:
    names = [pair.name for pair in cell.pairs]
    return json.loads(json.dumps(cell.config)), names, cell.path.given(), plane_given(cell.plane)
