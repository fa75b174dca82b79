"""Runs tasks in processes of one thread each and tells the parent what happens in them."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from lmc_repro.errors import LmcError
from lmc_repro.execution.memory import free_bytes, side_by_side
from lmc_repro.execution.task import StackTask, train_task
from lmc_repro.execution.threads import deterministic_products, one_thread_each
from lmc_repro.execution.workers import worker_context
from lmc_repro.training.event import Event

T = TypeVar("T")


class Stopped(Exception):
    """Raised in a worker between two epochs when the parent wants to end."""


class _Worker:
    """What a worker process knows of its parent."""

    events: Any = None
    stop: Any = None


def default_jobs() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_stacks(tasks: Sequence[StackTask], jobs: int, on_event: Callable[[Event], None]) -> None:
    """Train all stacks in at most `jobs` processes; `on_event` is called here, in the parent, as they tell.

    Fewer processes are started where the memory that is free now would not hold the largest stacks side by side.
    After a failure, or an interruption here, running stacks end with their epoch and keep their last checkpoint.
    """
    if not tasks:
        return
    if tasks[0].device == "cpu":
        jobs = side_by_side([task.memory for task in tasks], jobs, free_bytes("cpu"))
    context = worker_context()
    events, stop = context.Queue(), context.Event()
    with _pool(min(jobs, len(tasks)), (events, stop)) as pool:
        pending: set[Future[None]] = {pool.submit(_train, task) for task in tasks}
        failed: BaseException | None = None
        try:
            while pending and failed is None:
                _drain(events, on_event, timeout=0.2)
                ended, pending = wait(pending, timeout=0)
                failed = next((error for future in ended if (error := future.exception()) is not None), None)
        finally:
            if pending:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
            _drain(events, on_event, timeout=0.1)
    if failed is not None:
        _raise(failed)


def map_tasks(function: Callable[[Any], T], tasks: Iterable[Any], jobs: int) -> Iterator[T]:
    """Yield `function` of every task, in order, computed in `jobs` processes.

    Tasks are taken from the iterable as processes become free, so that large ones do not lie in memory all at once.
    """
    source = iter(tasks)
    first = list(islice(source, jobs + 1))  # one more than can be computed: no process waits for the next to be read
    if not first:
        return
    with _pool(max(1, jobs), (None, None)) as pool:
        waiting = deque(pool.submit(function, task) for task in first)
        try:
            while waiting:
                oldest = waiting.popleft()
                if (error := oldest.exception()) is not None:
                    _raise(error)
                waiting.extend(pool.submit(function, task) for task in islice(source, 1))
                yield oldest.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # an interruption waits for what is being computed only


def _pool(jobs: int, arguments: tuple[Any, ...]) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=worker_context(), initializer=_begin, initargs=arguments)


def _begin(events: Any, stop: Any) -> None:
    _Worker.events, _Worker.stop = events, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all: the parent ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once: nothing half-written has its name
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread_each()
    deterministic_products()


def _end_with_parent() -> None:
    """End this worker when its parent is killed, at work or idle: the next one must not find a second writer.

    What it was writing has not taken its name yet.
    """
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _train(task: StackTask) -> None:
    train_task(task, _tell)


def _tell(event: Event) -> None:
    _Worker.events.put(event)
    if _Worker.stop.is_set():
        raise Stopped


def _drain(events: Any, on_event: Callable[[Event], None], timeout: float) -> None:
    try:
        while True:
            on_event(events.get(timeout=timeout))
            timeout = 0.0
    except queue.Empty:
        return


def _raise(error: BaseException) -> None:
    if isinstance(error, BrokenProcessPool):
        time.sleep(0.2)  # a signal that ended the worker may be on its way to this process too, which then says so
        raise LmcError(
            "a worker process was ended from outside (out of memory, or killed); run again to go on from its last "
            "checkpoint, with fewer --jobs if memory is short"
        ) from None
    raise error
