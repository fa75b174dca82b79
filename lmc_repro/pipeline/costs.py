"""Costs of a study from the start: of each cell, for those not run; in all, for `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lmc_repro.common.words import counted
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.engine.costs import PROCESS_BYTES, comparison_cost, estimate, measure_gflops, processes_that_fit
from lmc_repro.engine.devices import require_precisions, resolve_device
from lmc_repro.engine.local import default_jobs
from lmc_repro.engine.stacks import QueuedRun, plan_stacks
from lmc_repro.models.registry import network
from lmc_repro.report.contents import GFLOPS, Planned


def planned_cells(cells: Iterable[Cell]) -> tuple[Planned, ...]:
    """Return the cells with the FLOPs and core hours of their runs from the start."""
    return tuple(
        Planned(
            row=cell.row,
            column=cell.column,
            label=f"{cell.row_label}, {cell.column_label}",
            paper=cell.paper,
            model=network(cell.config["model"]),
            runs=cost.runs,
            flops=cost.flops,
            hours=cost.seconds / 3600,
        )
        for cell, cost in ((cell, estimate(cell.runs, GFLOPS)) for cell in cells)
    )


def cost_lines(plan: StudyPlan, jobs: int | None, device: str | None) -> Iterator[str]:
    """Yield runs, pairs, FLOPs, minutes, memory and disk of a study from the start, on this machine.

    LmcError for a device or a precision that it does not have.
    """
    device = resolve_device(device or plan.profile_config.device)
    require_precisions(plan, device)
    jobs = jobs or default_jobs(device)
    gflops = measure_gflops()
    cost = estimate(plan.runs, gflops)
    yield f"{plan.study}, profile {plan.profile}: {counted(len(plan.cells), 'cell')}, {counted(cost.runs, 'run')}"
    where = f"in {counted(jobs, 'process')} ({gflops:.0f} GF/s each)"
    yield f"training: {cost.flops:.2e} FLOPs, {_minutes(cost.seconds / jobs)} {where}"
    pairs, flops, seconds = comparison_cost(plan, gflops)
    yield f"comparing: {counted(pairs, 'pair')}, {flops:.2e} FLOPs, {_minutes(seconds / jobs)}"
    loaders = {run: cell.loader for cell in reversed(plan.cells) for run in cell.runs}  # of two cells the first's
    work = [QueuedRun(str(i), run, loaders[run]) for i, run in enumerate(plan.runs)]
    tasks = plan_stacks(work, jobs, Path(), Path(), "", device)
    needs = sorted((task.memory for task in tasks), reverse=True)
    at_once = processes_that_fit(needs, jobs) if device == "cpu" else min(jobs, len(tasks))
    held = sum(needs[:at_once]) + at_once * PROCESS_BYTES
    yield f"memory: {counted(len(tasks), 'stack')}, {at_once} at once, at most {held / 1e9:.1f} GB"
    yield f"checkpoints: {cost.disk_bytes / 1e6:.0f} MB in runs, as much in MLflow; under dvc repro also in its cache"


def _minutes(seconds: float) -> str:
    return "under a minute" if seconds < 60 else f"about {seconds / 60:.0f} min"
