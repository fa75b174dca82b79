"""The engine seam: where stacks train and pairs are measured; and the policy that every engine shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from lmc_repro.common.errors import LmcError
from lmc_repro.config.run import RunConfig
from lmc_repro.engine.task import StackTask
from lmc_repro.training.trainer import Event

T = TypeVar("T")
Run = tuple[str, RunConfig]


TRIES = 4
"""Tries of a run on machines that live until it is given up: two in its stack, one in half of it, one alone."""


class Lost(Exception):
    """Ends a task whose process is gone, with the reason; it is submitted again from the newest saved state.

    `blame`: the machine lives, so the task may be at fault: its worker died, or had no memory.
    """

    def __init__(self, reason: str, blame: bool) -> None:
        super().__init__(reason)
        self.blame = blame


@dataclass(frozen=True)
class Ended:
    """A submitted task is over: `error` is None if all of its runs are complete, `Lost` if another try may end well."""

    task: StackTask
    error: BaseException | None = None


class Engine(Protocol):
    """Executes tasks somewhere: `lmc_repro.engine.local` in processes of this machine, others elsewhere.

    An engine trains by `train_task`, which is idempotent, and leaves run folders in the task's `working`.
    """

    def submit(self, task: StackTask) -> None:
        """Queue a stack; it begins, from its newest saved states, when a slot is free."""
        ...

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        """Yield the events since the last call; wait up to `timeout` seconds for the first."""
        ...

    def stop(self) -> None:
        """Drop queued stacks, let running ones end after their epoch with their state saved, and release all."""
        ...

    def map(self, function: Callable[[Any], T], tasks: Iterable[Any]) -> Iterator[T]:
        """Yield `function` of every task, in order; tasks are taken from the iterable as slots become free."""
        ...


def run_stacks(engine: Engine, tasks: Sequence[StackTask], on_event: Callable[[Event], None]) -> None:
    """Train all stacks on an engine.

    A task that is lost with its machine begins again. One that is lost on a machine that lives counts: it begins again,
    then in two halves, then as single runs, and a run that is lost then too is given up. The others go on.

    Args:
        engine: Where they train.
        tasks: The stacks, in the order to begin them.
        on_event: Called here, in the parent, with every event; with kind `given up` for each such run, at the end.

    Raises:
        LmcError: Runs were given up; all others are complete.
        Exception: The first failure of a stack. The others end with their epoch and keep their state, as they do
            after an interruption here.
    """
    if not tasks:
        return
    running, failed = len(tasks), None
    done, losses, given_up = set[str](), Counter[str](), dict[str, str]()
    try:
        for task in tasks:
            engine.submit(task)
        while running and failed is None:
            for event in engine.poll(0.2):
                if not isinstance(event, Ended):
                    done.update(event.fingerprints if event.kind == "done" else ())
                    on_event(event)
                    continue
                running -= 1
                if not isinstance(event.error, Lost):
                    failed = failed or event.error
                    continue
                left = tuple(run for run in event.task.runs if run[0] not in done)
                losses.update(name for name, _ in left if event.error.blame)
                parts = _parts(left, losses)
                for part in parts:
                    engine.submit(replace(event.task, runs=part))
                running += len(parts)
                if not parts:
                    given_up |= {name: str(event.error) for name, _ in left}
    finally:
        engine.stop()
        for event in engine.poll(0.1):
            if isinstance(event, Event):
                on_event(event)
    if failed is not None:
        raise failed
    for fingerprint, reason in given_up.items():
        on_event(Event("given up", (fingerprint,), 0, reason))
    if given_up:
        total = sum(len(task.runs) for task in tasks)
        raise LmcError(
            f"{len(given_up)} of {total} runs were given up; the others are finished; run again to retry them"
        )


def _parts(runs: tuple[Run, ...], losses: Counter[str]) -> list[tuple[Run, ...]]:
    """Return the stacks in which the runs of a lost one are tried again; none at last.

    The runs of a stack have been lost equally often: they were together from the beginning.
    """
    lost = max((losses[name] for name, _ in runs), default=TRIES)
    if lost >= TRIES:
        return []
    size = (len(runs), len(runs), (len(runs) + 1) // 2, 1)[lost]
    return [runs[i : i + size] for i in range(0, len(runs), size)]
