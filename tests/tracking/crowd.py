"""What each process of a crowd does; a module of its own, which spawned processes can import."""

from __future__ import annotations

from pathlib import Path

from small_results import make_cell, make_pair
from small_study import make_plan, open_tracker, write_run

from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell


def publish(project: Project, cell: Cell, runs: Path) -> str:
    """What each process of a crowd does."""
    tracker = open_tracker(project, make_plan())
    for config in cell.runs[:2]:
        tracker.sync_train(cell, config, write_run(runs, config))
    tracker.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), dict)
    return tracker.finish_cell(cell, make_cell(cell))
