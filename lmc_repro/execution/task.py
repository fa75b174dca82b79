"""One unit of work: train a stack, idempotent; what a worker process, or another engine, is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_repro.errors import LmcError
from lmc_repro.schemas.run import LoaderKind, RunConfig
from lmc_repro.training.event import Event

if TYPE_CHECKING:
    from lmc_repro.data.dataset import Dataset
    from lmc_repro.training.trainer import Child


@dataclass(frozen=True)
class StackTask:
    """Runs that share a stack, by fingerprint; each trains in `working`/<fingerprint>.

    `cost` in seconds of one core and `memory` in bytes are counted on paper, to plan with.
    """

    runs: tuple[tuple[str, RunConfig], ...]
    working: Path
    prepared: Path
    loader: LoaderKind
    numerics: str
    device: str
    cost: float
    memory: int = 0

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(fingerprint for fingerprint, _ in self.runs)


def train_task(task: StackTask, on_event: Callable[[Event], None]) -> None:
    """Bring every run of the task to its end; runs that are complete, or that another process completes, are left.

    While another process has one of them, there are events of kind `waiting`, whose note says which.
    """
    import torch.utils.deterministic

    from lmc_repro.data.dataset import load_dataset
    from lmc_repro.execution.locks import hold
    from lmc_repro.numerics import use_one_thread
    from lmc_repro.training.run_folder import RunFolder
    from lmc_repro.training.trainer import Child  # imports torch: only where the task is done

    use_one_thread()
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms imports its compiler: 1.5 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all is written first
    with ExitStack() as locks:
        for fingerprint in sorted(task.fingerprints):  # one order for all processes: no deadlock
            tell = partial(_tell_waiting, on_event, fingerprint)
            locks.enter_context(hold(task.working / f"{fingerprint}.lock", tell))
        folders = [(RunFolder(task.working / fingerprint), config) for fingerprint, config in task.runs]
        children = [Child(config, folder) for folder, config in folders if not folder.is_complete()]
        if children:
            dataset = load_dataset(task.prepared, children[0].config.data.dataset)
            _train(children, dataset, task, on_event)


def _tell_waiting(on_event: Callable[[Event], None], fingerprint: str, holder: str) -> None:
    on_event(Event("waiting", (fingerprint,), 0, holder))


def _train(children: list[Child], dataset: Dataset, task: StackTask, on_event: Callable[[Event], None]) -> None:
    """Train the children together, and in halves where a GPU has no memory for so many after all."""
    import torch

    from lmc_repro.training.trainer import train_stack

    try:
        device = torch.device(task.device)
        train_stack(children, dataset, task.prepared, task.loader, task.numerics, device, on_event)
        return
    except torch.OutOfMemoryError:
        if len(children) == 1:
            raise LmcError(
                f"the GPU has no memory for run {children[0].folder.fingerprint} alone; end what else uses it, or "
                "choose a smaller network or batch"
            ) from None
    # Out of the handler: the error held the tensors of the attempt.
    torch.cuda.empty_cache()
    half = len(children) // 2
    for part in (children[:half], children[half:]):
        _train(part, dataset, task, on_event)
