"""Runs tasks in processes of one thread each and tells the parent what happens in them."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from lmc_repro.errors import LmcError
from lmc_repro.execution.task import StackTask, train_task
from lmc_repro.training.trainer import Event

T = TypeVar("T")
_events: Any = None


def default_jobs() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_stacks(tasks: Sequence[StackTask], jobs: int, on_event: Callable[[Event], None]) -> None:
    """Train all stacks in at most `jobs` processes; `on_event` is called here, in the parent, as they tell.

    The first failure is raised after the other running stacks have ended, so that their work is kept.
    """
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    with _pool(min(jobs, len(tasks)), (events,)) as pool:
        pending: set[Future[None]] = {pool.submit(_train, task) for task in tasks}
        done: set[Future[None]] = set()
        while pending:
            _drain(events, on_event, timeout=0.2)
            ended, pending = wait(pending, timeout=0)
            done |= ended
            if any(future.exception() for future in ended):
                for future in pending:
                    future.cancel()
        _drain(events, on_event, timeout=0.1)
    for future in done:
        if not future.cancelled():
            _result(future)


def map_tasks(function: Callable[[Any], T], tasks: Iterable[Any], jobs: int) -> Iterator[T]:
    """Yield `function` of every task, in order, computed in `jobs` processes.

    Tasks are taken from the iterable as processes become free, so that large ones do not lie in memory all at once.
    """
    source = iter(tasks)
    first = list(islice(source, max(1, jobs)))
    if not first:
        return
    with _pool(max(1, jobs)) as pool:
        waiting = deque(pool.submit(function, task) for task in first)
        while waiting:
            result = _result(waiting.popleft())
            waiting.extend(pool.submit(function, task) for task in islice(source, 1))
            yield result


def _pool(jobs: int, arguments: tuple[Any, ...] = (None,)) -> ProcessPoolExecutor:
    # spawn, not fork: a forked child would inherit torch's and MLflow's threads and locks
    return ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=arguments
    )


def _begin(events: Any) -> None:
    global _events
    _events = events
    # One thread for every library, before any of them is loaded.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def _train(task: StackTask) -> None:
    train_task(task, _events.put)


def _drain(events: Any, on_event: Callable[[Event], None], timeout: float) -> None:
    try:
        while True:
            on_event(events.get(timeout=timeout))
            timeout = 0.0
    except queue.Empty:
        return


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except BrokenProcessPool:
        raise LmcError(
            "a worker process was ended from outside (out of memory, or killed); run again to go on from its last "
            "checkpoint, with fewer --jobs if memory is short"
        ) from None
