"""The engine of one machine: worker processes of one thread each, forked from a process that has torch imported."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from lmc_repro.common.errors import LmcError
from lmc_repro.common.openblas import environment
from lmc_repro.common.signals import held_back
from lmc_repro.engine.costs import processes_that_fit
from lmc_repro.engine.protocol import Ended
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.training.trainer import Event

T = TypeVar("T")

GPU_JOBS = 4  # one computes while others read, save and evaluate

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # cuBLAS workspaces of one size: without them equal products may differ.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # Let glibc keep a step's freed memory for the next one. Otherwise the system maps and zeroes its pages again, which
    # takes a fifth of a step of 8 digits layers, a twelfth of one at MNIST size.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
"""Variables that libraries read when they are loaded; workers have them, this process does not."""


class Stopped(Exception):
    """Raised in a worker between two epochs when the parent wants to end."""


class _Worker:
    """The channels between a worker process and its parent."""

    events: Any = None
    stop: Any = None


def default_jobs(device: str = "cpu") -> int:
    """Return the number of cores that this process may use; for a GPU a few, which share its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device == "cpu" else min(cores, GPU_JOBS)


def worker_context() -> BaseContext:
    """Return the context that starts workers, its fork server running.

    A fork of this process would inherit the threads and locks of torch and MLflow, and a new process for each worker
    would import torch, 1.5 s, each time. The server ends with this process, and Ctrl-C, which reaches all that a
    terminal started, is blocked in it: this process ends it. Call it early, and the server imports torch while this
    process plans.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmc_repro.training.trainer"])
    resource_tracker.ensure_running()  # its start unblocks signals
    with held_back(), environment(WORKER_ENVIRONMENT):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the server inherits
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


class LocalEngine:
    """Runs tasks in at most `jobs` processes; fewer where the largest stacks would not fit into free memory."""

    def __init__(self, jobs: int) -> None:
        self.jobs = max(1, jobs)
        self._queued: list[StackTask] = []
        self._running: dict[Future[None], StackTask] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._events: Any = None
        self._stop: Any = None

    def submit(self, task: StackTask) -> None:
        """See `Engine.submit`."""
        self._queued.append(task)

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        """See `Engine.poll`."""
        self._begin_queued()
        try:
            while self._events is not None:
                yield self._events.get(timeout=timeout)
                timeout = 0.0
        except queue.Empty:
            pass
        for future in [future for future in self._running if future.done()]:
            task = self._running.pop(future)
            error = None if future.cancelled() else future.exception()
            yield Ended(task, _explained(error))

    def stop(self) -> None:
        """See `Engine.stop`."""
        self._queued.clear()
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[Any], T], tasks: Iterable[Any]) -> Iterator[T]:
        """See `Engine.map`."""
        source = iter(tasks)
        first = list(islice(source, self.jobs + 1))  # one more than can be computed: no process waits for the next
        if not first:
            return
        with _pool(self.jobs, (None, None)) as pool:
            waiting = deque[Future[T]]()
            try:
                waiting.extend(_submit(pool, function, task) for task in first)
                while waiting:
                    oldest = waiting.popleft()
                    if (error := _explained(oldest.exception())) is not None:
                        raise error
                    waiting.extend(_submit(pool, function, task) for task in islice(source, 1))
                    yield oldest.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)  # on an interruption, wait only for running tasks

    def _begin_queued(self) -> None:
        if not self._queued:
            return
        if self._pool is None:
            jobs = min(self.jobs, len(self._queued))
            if self._queued[0].device == "cpu":
                jobs = processes_that_fit([task.memory for task in self._queued], jobs)
            context = worker_context()
            self._events, self._stop = context.Queue(), context.Event()
            self._pool = _pool(jobs, (self._events, self._stop))
        for task in self._queued:
            self._running[_submit(self._pool, _train, task)] = task
        self._queued.clear()


def _pool(jobs: int, arguments: tuple[Any, ...]) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=worker_context(), initializer=_begin, initargs=arguments)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Any], T], task: Any) -> Future[T]:
    with held_back():  # a process may be started
        return pool.submit(function, task)


def _begin(events: Any, stop: Any) -> None:
    _Worker.events, _Worker.stop = events, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all: the parent ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once: unfinished files have temporary names only
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(WORKER_ENVIRONMENT)  # a spawned worker has not loaded its libraries yet


def _end_with_parent() -> None:
    """End this worker when its parent is killed: the next one must not find a second writer.

    The files it was writing still have temporary names.
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


def _explained(error: BaseException | None) -> BaseException | None:
    """Return the error for the user: one line for a killed worker, any other unchanged."""
    if not isinstance(error, BrokenProcessPool):
        return error
    time.sleep(0.2)  # the signal that ended the worker may be on its way to this process too, which then says so
    return LmcError(
        "a worker process ended before its work was done (out of memory, killed, or begun by a script without `if "
        "__name__ == '__main__':`); run again to resume from its last checkpoint, with fewer --jobs if memory is short"
    )
