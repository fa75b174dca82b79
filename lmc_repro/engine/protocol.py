"""The engine seam: where stacks train and pairs are measured; and the policy that every engine shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lmc_repro.engine.task import StackTask
from lmc_repro.training.trainer import Event

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """A submitted task is over: `error` is None if all of its runs are complete."""

    task: StackTask
    error: BaseException | None = None


class Engine(Protocol):
    """Executes tasks somewhere: `lmc_repro.engine.local` in processes of this machine, others elsewhere.

    An engine trains by `train_task`, which is idempotent, and leaves run folders in the task's `working`.
    """

    def submit(self, task: StackTask) -> None:
        """Queue a stack; it begins when a slot is free."""
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

    Args:
        engine: Where they train.
        tasks: The stacks, in the order to begin them.
        on_event: Called here, in the parent, with every event.

    Raises:
        Exception: The first failure of a stack. The others end with their epoch and keep their state, as they do
            after an interruption here.
    """
    if not tasks:
        return
    for task in tasks:
        engine.submit(task)
    running, failed = len(tasks), None
    try:
        while running and failed is None:
            for event in engine.poll(0.2):
                if isinstance(event, Ended):
                    running -= 1
                    failed = failed or event.error
                else:
                    on_event(event)
    finally:
        engine.stop()
        for event in engine.poll(0.1):
            if isinstance(event, Event):
                on_event(event)
    if failed is not None:
        raise failed
