"""What `lmc run --dry-run` prints: the cost of a study, counted before anything is done."""

from __future__ import annotations

from pathlib import Path

from lmc_repro.execution.devices import resolve_device
from lmc_repro.schemas.plan import StudyPlan


def print_costs(plan: StudyPlan, jobs: int | None, device: str | None) -> None:
    """Print runs, pairs, FLOPs, minutes, memory and disk of a study from the start, on this machine."""
    from lmc_repro.execution.estimate import comparison_cost, estimate, measure_gflops
    from lmc_repro.execution.memory import PROCESS_BYTES, free_bytes, side_by_side
    from lmc_repro.execution.planner import Work, plan_stacks
    from lmc_repro.execution.pool import default_jobs

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
    memory = free_bytes(device)
    # Equal runs of two cells are trained once: a stack may be smaller than is said here, never larger.
    tasks = plan_stacks(work, jobs, Path(), Path(), "", device, memory)
    needs = sorted((task.memory for task in tasks), reverse=True)
    at_once = side_by_side(needs, jobs, memory) if device == "cpu" else 1
    largest = max(tasks, key=lambda task: task.memory)
    held = sum(needs[:at_once]) + at_once * PROCESS_BYTES
    free = "unknown" if memory is None else f"{memory / 1e9:.1f} GB"
    print(
        f"memory: {len(tasks)} stacks, {at_once} at once, at most {held / 1e9:.1f} GB of {free} that may be used; the "
        f"largest has {len(largest.runs)} runs, {largest.memory / 1e9:.1f} GB"
    )
    print(f"checkpoints: {cost.disk_bytes / 1e6:.0f} MB in runs, as much in MLflow; under dvc repro also in its cache")
