"""One unit of work: train a stack, idempotent; what a worker process, or another engine, is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.schemas.data import LoaderKind
from lmc_repro.schemas.run import RunConfig
from lmc_repro.training.trainer import Child, Event, train_stack


@dataclass(frozen=True)
class StackTask:
    """Runs that share a stack, by fingerprint; each trains in `working`/<fingerprint>."""

    runs: tuple[tuple[str, RunConfig], ...]
    working: Path
    prepared: Path
    loader: LoaderKind
    numerics: str
    device: str
    cost: float

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(fingerprint for fingerprint, _ in self.runs)


def train_task(task: StackTask, on_event: Callable[[Event], None]) -> None:
    """Bring every run of the task to its end; runs that are complete, or that another process completes, are left."""
    import torch
    from filelock import FileLock

    from lmc_repro.data.dataset import load_dataset
    from lmc_repro.numerics import use_one_thread
    from lmc_repro.training.run_folder import RunFolder

    use_one_thread()
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms imports its compiler: 1.5 s
    with ExitStack() as locks:
        task.working.mkdir(parents=True, exist_ok=True)
        for fingerprint in sorted(task.fingerprints):  # one order for all processes: no deadlock
            locks.enter_context(FileLock(task.working / f"{fingerprint}.lock"))
        folders = [(RunFolder(task.working / fingerprint), config) for fingerprint, config in task.runs]
        children = [Child(config, folder) for folder, config in folders if not folder.is_complete()]
        if children:
            dataset = load_dataset(task.prepared, children[0].config.data.dataset)
            device = torch.device(task.device)
            train_stack(children, dataset, task.prepared, task.loader, task.numerics, device, on_event)
