"""An engine from outside the package: trains and computes in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lmc_repro.engine.protocol import Ended
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.training.trainer import Event


class Here:
    """A toy: trains in this process, one task per poll."""

    def __init__(self, fail: str | None = None) -> None:
        self.fail, self.queue, self.stopped = fail, list[StackTask](), 0

    def submit(self, task: StackTask) -> None:
        self.queue.append(task)

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        if not self.queue:
            return
        task = self.queue.pop(0)
        if self.fail in task.fingerprints:
            yield Ended(task, ValueError(self.fail))
            return
        events: list[Event] = []
        train_task(task, events.append)
        yield from events
        yield Ended(task)

    def stop(self) -> None:
        self.queue.clear()
        self.stopped += 1

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        return map(function, tasks)
