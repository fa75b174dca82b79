"""Which runs share a stack, and which stack goes first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from lmc_repro.data.catalog import dataset_info
from lmc_repro.execution.estimate import run_cost, step_overhead
from lmc_repro.execution.memory import PROCESS_BYTES, StackMemory, free_bytes, stack_memory
from lmc_repro.execution.task import StackTask
from lmc_repro.schemas.run import LoaderKind, RunConfig
from lmc_repro.training.together import stack_key

# On a CPU a stack saves Python, not arithmetic: beyond this a larger one only falls out of the caches.
CPU_STACK_BYTES = 64 * 2**20
CPU_STACK_CHILDREN = 16
# For the order only: what a run takes to be logged, in the parent, and a loader before its first batch (ffcv compiles).
LOG_SECONDS = 0.05
START_SECONDS: dict[LoaderKind, float] = {"ffcv": 2.0}


@dataclass(frozen=True)
class Work:
    """One run to train, and the epoch that it stands at."""

    fingerprint: str
    config: RunConfig
    loader: LoaderKind
    epoch: int = 0


def plan_stacks(
    work: Sequence[Work],
    jobs: int,
    working: Path,
    prepared: Path,
    numerics: str,
    device: str,
    memory: int | None = None,
) -> list[StackTask]:
    """Return the stacks in the order to train them; their runs differ in seeds, initialisation, rate and schedule only.

    Runs of several cells share a stack where they can. `memory` are the bytes that the stacks which train at once may
    take together, default: what the device has free. One that is larger than a process's share of it is split.
    """
    if memory is None:
        memory = free_bytes(device)
    groups: dict[tuple[str, str, int], list[Work]] = {}
    for item in work:
        groups.setdefault((stack_key(item.config), item.loader, item.epoch), []).append(item)
    costs = {item.fingerprint: _cost(item) for item in work}
    fair = sum(costs.values()) / max(jobs, 1)
    tasks = []
    for group in groups.values():
        config = group[0].config
        info = dataset_info(config.data.dataset)
        needs = stack_memory(config, info)
        size = min(len(group), _limit(needs, memory, jobs, device))
        if device == "cpu":
            own = sum(costs[item.fingerprint] for item in group) / len(group)  # 0: only the end is to be written
            # No stack longer than a process's share of all that there is to do.
            share = max(1, ceil(fair / own - 1e-9)) if own > 0 else len(group)
            size = min(size, share, max(1, CPU_STACK_BYTES // (needs.weights + needs.batch)), CPU_STACK_CHILDREN)
        parts = -(-len(group) // size)
        size = -(-len(group) // parts)  # equal parts rather than a full one and a rest
        for start in range(0, len(group), size):
            part = group[start : start + size]
            left = sum(costs[item.fingerprint] for item in part)
            runs = tuple((item.fingerprint, item.config) for item in part)
            held = needs.bytes(len(part))
            tasks.append(StackTask(runs, working, prepared, part[0].loader, numerics, device, left, held))
    return sorted(tasks, key=_turn)


def _turn(task: StackTask) -> tuple[bool, float]:
    """Return what orders stacks: the longest first, so that processes end together, but for very short ones.

    A stack that is trained sooner than its runs are logged goes before all: at the end, all would wait for the log.
    """
    config = task.runs[0][1]
    shared = step_overhead(config, dataset_info(config.data.dataset)) * (len(task.runs) - 1)
    seconds = max(task.cost - shared, 0.0) + START_SECONDS.get(task.loader, 0.0)
    return seconds > LOG_SECONDS * len(task.runs), -seconds


def _cost(item: Work) -> float:
    """Return the seconds of one core that a run still takes."""
    return run_cost(item.config, dataset_info(item.config.data.dataset)) * (1 - item.epoch / item.config.epochs)


def _limit(needs: StackMemory, memory: int | None, jobs: int, device: str) -> int:
    """Return the most children of a stack: all of a GPU's memory is one process's, that of the machine is shared."""
    if memory is None:
        return sys.maxsize
    return needs.children(memory if device != "cpu" else memory // max(jobs, 1) - PROCESS_BYTES)
