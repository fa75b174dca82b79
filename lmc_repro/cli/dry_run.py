"""What `lmc run --dry-run` prints: the cost of a study, counted before anything is done."""

from __future__ import annotations

from pathlib import Path

from lmc_repro.execution.devices import resolve_device
from lmc_repro.schemas.plan import StudyPlan


def print_costs(plan: StudyPlan, jobs: int | None, device: str | None) -> None:
    """Print runs, pairs, FLOPs, minutes, memory and disk of a study from the start, on this machine."""
    from lmc_repro.execution.costs import (
        PROCESS_BYTES,
        comparison_cost,
        estimate,
        measure_gflops,
        processes_that_fit,
    )
    from lmc_repro.execution.local import default_jobs
    from lmc_repro.execution.stacks import Work, plan_stacks

    device = resolve_device(device or plan.profile_config.device)
    jobs = 1 if device == "cuda" else jobs or default_jobs()
    gflops = measure_gflops()
    cost = estimate(plan.runs, gflops)
    minutes = cost.seconds / jobs / 60
    print(f"{plan.study}, profile {plan.profile}: {len(plan.cells)} cells, {cost.runs} runs")
    print(f"training: {cost.flops:.2e} FLOPs, about {minutes:.0f} min in {jobs} processes ({gflops:.0f} GF/s each)")
    pairs, flops, seconds = comparison_cost(plan, gflops)
    print(f"comparing: {pairs} pairs, {flops:.2e} FLOPs, about {seconds / jobs / 60:.0f} min")
    work = [Work(f"{cell.key} {i}", run, cell.loader) for cell in plan.cells for i, run in enumerate(cell.runs)]
    # Equal runs of two cells are trained once: a stack may be smaller than is said here, never larger.
    tasks = plan_stacks(work, jobs, Path(), Path(), "", device)
    needs = sorted((task.memory for task in tasks), reverse=True)
    at_once = processes_that_fit(needs, jobs) if device == "cpu" else 1
    held = sum(needs[:at_once]) + at_once * PROCESS_BYTES
    print(f"memory: {len(tasks)} stacks, {at_once} at once, at most {held / 1e9:.1f} GB")
    print(f"checkpoints: {cost.disk_bytes / 1e6:.0f} MB in runs, as much in MLflow; under dvc repro also in its cache")
