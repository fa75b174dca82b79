"""What a stack holds in memory, counted before it is trained, and what there is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.data.catalog import DatasetInfo, dataset_info
from lmc_repro.models.base import count_parameters
from lmc_repro.models.registry import build_model
from lmc_repro.schemas.run import RunConfig

PROCESS_BYTES = 400 * 2**20  # a worker with torch and no data: measured, rounded up
SHARE = 0.8  # of what is free: the count leaves out what libraries keep for themselves
STATE = {"sgd": 1, "adam": 2}  # buffers a weight of training.optimizer's own, without its import of torch
EVALUATED = 250  # images at once in an evaluation: training.evaluate.BATCH, without its import of torch


@dataclass(frozen=True)
class StackMemory:
    """Bytes of a stack: what it holds once, and what each child adds."""

    shared: int  # the data set: images as bytes, labels of 8
    weights: int  # float32: weights, gradient, autograd's gradients, scratch, the optimizer's state
    batch: int  # float32: inputs and activations of a training batch
    evaluation_shared: int  # float32: the inputs of an evaluation, one for all children
    evaluation: int  # float32: activations of an evaluation

    def bytes(self, children: int) -> int:
        """Return what a stack of so many holds; a batch and an evaluation never are there at once."""
        at_once = max(children * self.batch, self.evaluation_shared + children * self.evaluation)
        return self.shared + children * self.weights + at_once

    def children(self, limit: int) -> int:
        """Return how many children fit into so many bytes, and 1 where not even one does."""
        left = limit - self.shared
        training = left // (self.weights + self.batch)
        evaluating = (left - self.evaluation_shared) // (self.weights + self.evaluation)
        return max(1, min(training, evaluating))


def stack_memory(config: RunConfig, info: DatasetInfo | None = None) -> StackMemory:
    """Return the count for stacks of runs like this one; `info` defaults to that of its data set."""
    info = info or dataset_info(config.data.dataset)
    model = build_model(config.model, info)
    images, activations = info.n_train + info.n_test, model.activations()
    return StackMemory(
        shared=images * (info.features + 8),
        weights=4 * count_parameters(model) * (4 + state_buffers(config)),
        batch=4 * min(config.batch_size, info.n_train) * (info.features + activations),
        evaluation_shared=4 * min(EVALUATED, images) * info.features,
        evaluation=4 * min(EVALUATED, images) * activations,
    )


def state_buffers(config: RunConfig) -> int:
    """Return how many numbers a weight the optimizer keeps from step to step: SGD 1, ADAM 2."""
    if (known := STATE.get(config.optimizer.kind)) is not None:
        return known
    import torch

    from lmc_repro.training.optimizer import build_optimizer

    return len(build_optimizer(config.optimizer, torch.empty(1, 1)).state)


def free_bytes(device: str) -> int | None:
    """Return the bytes that a device's stacks may take together; None where that cannot be known."""
    if device.startswith("cuda"):
        import torch

        return int(SHARE * torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
    found = [value for value in (_available(), _allowed()) if value is not None]
    return int(SHARE * min(found)) if found else None


def side_by_side(needs: Sequence[int], jobs: int, limit: int | None) -> int:
    """Return how many processes may run at once: as many as `jobs`, fewer where the largest would not fit together."""
    largest = sorted(needs, reverse=True)[: max(1, jobs)]
    while limit is not None and len(largest) > 1 and sum(largest) + len(largest) * PROCESS_BYTES > limit:
        largest.pop()
    return max(1, len(largest))


def _available() -> int | None:
    """Return the memory of the machine that is free, or easily freed."""
    path = Path("/proc/meminfo")
    if path.is_file():
        lines = path.read_text(errors="replace").splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        if found:
            return found[0]
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _allowed() -> int | None:
    """Return what a container's limit leaves (cgroup 2)."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = int((root / "memory.max").read_text())
        return limit - int((root / "memory.current").read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
