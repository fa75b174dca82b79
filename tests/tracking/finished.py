"""A project with the runs and results of one cell, and no store."""

from __future__ import annotations

from pathlib import Path

from small_results import make_pair
from small_study import DIGESTS, NUMERICS, make_plan, write_run
from trained_store import write_params

from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.common.project import Project
from lmc_repro.config.study import Judgement
from lmc_repro.results.write import write_results


def write_finished(root: Path) -> Path:
    """Write the project into a folder that is there, and return it; `lmc publish one` has seven records to publish."""
    project, plan = Project(root), make_plan()
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    write_params(project)
    for config in cell.runs:
        write_run(project.runs / "one", config)
    result = judge_cell([make_pair(pair) for pair in cell.pairs], Judgement(threshold=2.0), 10)
    write_results(project.results / "one", plan, {cell.key: result}, [], DIGESTS, {}, NUMERICS, "cpu")
    return root
