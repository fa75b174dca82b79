"""The stacks that train together, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.engine.costs import run_bytes, run_cost, stack_bytes
from lmc_repro.engine.task import StackTask
from lmc_repro.training.stack import stack_key

# On a CPU a stack saves Python time, not arithmetic, and a larger one does not fit into the caches.
CPU_STACK_BYTES = 64 * 2**20
CPU_STACK_RUNS = 16
START_SECONDS: dict[LoaderKind, float] = {"ffcv": 2.0}  # before the first batch: ffcv compiles


@dataclass(frozen=True)
class QueuedRun:
    """One run to train, and the epoch that it resumes from."""

    fingerprint: str
    config: RunConfig
    loader: LoaderKind
    epoch: int = 0


def plan_stacks(
    work: Sequence[QueuedRun],
    jobs: int,
    working: Path,
    prepared: Path,
    numerics: str,
    device: str,
    callbacks: tuple[str, ...] = (),
) -> list[StackTask]:
    """Return the stacks in the order to train them, the longest first, so that processes end together.

    Runs of several cells share a stack if they differ in seeds, initialisation, rate and schedule alone. A CPU's stack
    takes no longer than a process's share of all work, and fits into its caches. A GPU takes all at once; where its
    memory is too small, `train_task` halves the stack.
    """
    groups: dict[tuple[str, str, int], list[QueuedRun]] = {}
    for item in work:
        groups.setdefault((stack_key(item.config), item.loader, item.epoch), []).append(item)
    costs = {item.fingerprint: _cost(item) for item in work}
    fair = sum(costs.values()) / max(jobs, 1)
    tasks = []
    for group in groups.values():
        config, size = group[0].config, len(group)
        info = dataset_info(config.data.dataset)
        if not config.model.stacks:
            size = 1
        elif device == "cpu":
            own = sum(costs[item.fingerprint] for item in group) / len(group)  # 0: only the end is to be written
            share = max(1, ceil(fair / own - 1e-9)) if own > 0 else len(group)
            size = min(size, share, max(1, CPU_STACK_BYTES // run_bytes(config, info)), CPU_STACK_RUNS)
        parts = -(-len(group) // size)
        size = -(-len(group) // parts)  # equal parts rather than a full one and a rest
        for start in range(0, len(group), size):
            part = group[start : start + size]
            left = sum(costs[item.fingerprint] for item in part) + START_SECONDS.get(part[0].loader, 0.0)
            runs = tuple((item.fingerprint, item.config) for item in part)
            held = stack_bytes(config, info, len(part))
            tasks.append(StackTask(runs, working, prepared, part[0].loader, numerics, device, left, held, callbacks))
    return sorted(tasks, key=lambda task: -task.cost)


def _cost(item: QueuedRun) -> float:
    """Return the seconds of one core that a run still takes."""
    return run_cost(item.config, dataset_info(item.config.data.dataset)) * (1 - item.epoch / item.config.epochs)
