"""The task that an engine sends to a worker: a stack of runs, trained to the end from any state."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.utils.deterministic

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.common.locks import hold
from lmc_repro.common.numerics import use_one_thread
from lmc_repro.config.own_code import own_object, short_name
from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.data.dataset import Dataset, load_dataset
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Callback, Evaluation, Event, StackedRun, train_stack


@dataclass(frozen=True)
class StackTask:
    """Runs that share a stack, by fingerprint; each trains in `working`/<fingerprint>.

    `cost` is the predicted time in seconds of one core, `memory` in bytes: they order tasks and limit processes.
    `callbacks` are FILE.py:NAME, called at every evaluation epoch; they are no part of a run's identity.
    """

    runs: tuple[tuple[str, RunConfig], ...]
    working: Path
    prepared: Path
    loader: LoaderKind
    numerics: str
    device: str
    cost: float
    memory: int = 0
    callbacks: tuple[str, ...] = ()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(fingerprint for fingerprint, _ in self.runs)


def train_task(task: StackTask, on_event: Callable[[Event], None]) -> None:
    """Train every run of a task to its end.

    Complete runs are left alone, those of another process are waited for, interrupted ones are resumed: calling this
    twice trains nothing twice.

    Args:
        task: The runs and their place.
        on_event: Called after each epoch and save, and with kind `waiting` while another process has one of the runs.

    Raises:
        LmcError: If a GPU has no memory for a run by itself, or a callback fails: it is named.
    """
    use_one_thread()
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms imports its compiler: 1.5 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all is written first
    with ExitStack() as locks:
        for fingerprint in sorted(task.fingerprints):  # one order for all processes: no deadlock

            def waiting(holder: str, fingerprint: str = fingerprint) -> None:
                on_event(Event("waiting", (fingerprint,), 0, holder))

            locks.enter_context(hold(task.working / f"{fingerprint}.lock", waiting))
        folders = [(RunFolder(task.working / fingerprint), config) for fingerprint, config in task.runs]
        runs = [StackedRun(config, folder) for folder, config in folders if not folder.is_complete()]
        if runs:
            dataset = load_dataset(task.prepared, runs[0].config.data.dataset)
            _train(runs, dataset, task, on_event)


def _train(runs: Sequence[StackedRun], dataset: Dataset, task: StackTask, on_event: Callable[[Event], None]) -> None:
    """Train the runs together, and in halves where a GPU has no memory for so many."""
    try:
        device = torch.device(task.device)
        callbacks = [_named(name) for name in task.callbacks]
        train_stack(runs, dataset, task.prepared, task.loader, task.numerics, device, on_event, callbacks)
        return
    except torch.OutOfMemoryError:
        if len(runs) == 1:
            raise LmcError(
                f"the GPU has no memory for run {runs[0].folder.fingerprint} alone; end what else uses it, or "
                "choose a smaller network or batch"
            ) from None
    # Outside the handler, because the error holds the attempt's tensors; they also lie in cycles.
    gc.collect()
    torch.cuda.empty_cache()
    half = len(runs) // 2
    for part in (runs[:half], runs[half:]):
        _train(part, dataset, task, on_event)


def _named(name: str) -> Callback:
    """Return a callback whose failure is an LmcError that names it; it may be out of memory, too."""
    callback = own_object(name)

    def called(evaluation: Evaluation) -> None:
        own_code(f"callback {short_name(name)} at epoch {evaluation.epoch:g}", lambda: callback(evaluation))

    return called
