"""Which runs share a stack, and which stack goes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.data.catalog import dataset_info
from lmc_repro.execution.estimate import run_cost, working_bytes
from lmc_repro.execution.task import StackTask
from lmc_repro.schemas.data import LoaderKind
from lmc_repro.schemas.run import RunConfig
from lmc_repro.training.trainer import stack_key

# On a CPU a stack saves Python, not arithmetic: beyond this a larger one only falls out of the caches.
CPU_STACK_BYTES = 64 * 2**20
CPU_STACK_CHILDREN = 16


@dataclass(frozen=True)
class Work:
    """One run to train, and the epoch that it stands at."""

    fingerprint: str
    config: RunConfig
    loader: LoaderKind
    epoch: int = 0


def plan_stacks(
    work: Sequence[Work], jobs: int, working: Path, prepared: Path, numerics: str, device: str
) -> list[StackTask]:
    """Return the stacks, longest first; their runs differ in seeds, initialisation, rate and schedule only."""
    groups: dict[tuple[str, str, int], list[Work]] = {}
    for item in work:
        groups.setdefault((stack_key(item.config), item.loader, item.epoch), []).append(item)
    fair = max(1, -(-len(work) // max(jobs, 1)))  # no stack larger than a process's share of all runs
    tasks = []
    for group in groups.values():
        config = group[0].config
        info = dataset_info(config.data.dataset)
        fits = max(1, CPU_STACK_BYTES // working_bytes(config, info))
        size = min(fair, fits, CPU_STACK_CHILDREN) if device == "cpu" else len(group)
        parts = -(-len(group) // size)
        size = -(-len(group) // parts)  # equal parts rather than a full one and a rest
        for start in range(0, len(group), size):
            part = group[start : start + size]
            left = sum(run_cost(item.config, info) * (1 - item.epoch / item.config.epochs) for item in part)
            runs = tuple((item.fingerprint, item.config) for item in part)
            tasks.append(StackTask(runs, working, prepared, part[0].loader, numerics, device, left))
    return sorted(tasks, key=lambda task: -task.cost)
