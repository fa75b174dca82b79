"""The engine of a Ray cluster: tasks on its machines, all files of runs on this one.

The driver's store is the only truth. A task is sent with its runs' newest states, and every state and finished run
comes back in letters, which are checked and written before their events are passed on: after any death the rest goes on
from there. Ray itself retries nothing; `run_stacks` does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import exceptions as lost
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lmc_repro.common.errors import LmcError
from lmc_repro.common.locks import hold
from lmc_repro.data.status import require_ready
from lmc_repro.engine import remote
from lmc_repro.engine.cluster import Cluster
from lmc_repro.engine.costs import PROCESS_BYTES
from lmc_repro.engine.machines import GONE, LOOK_SECONDS, Machines, line, submitted
from lmc_repro.engine.protocol import TRIES, Ended, Lost
from lmc_repro.engine.remote import Attempt, Data, Letter, Mailbox
from lmc_repro.engine.task import StackTask
from lmc_repro.engine.transfer import WHOLE, Expected, Files, read_dataset, read_files, write_state, write_whole
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event

T = TypeVar("T")

GRACE_SECONDS = 300.0
"""The time that running tasks have to end their epoch after an interruption."""

ROOM_SECONDS = 5.0
"""How often a sender asks for room: 1,000 of them, all waiting, ask the mailbox 200 times a second."""


@dataclass
class _Running:
    """A stack under way: its number, the locks of its runs, whether a machine has begun it."""

    number: int
    task: StackTask
    locks: ExitStack
    begun: bool = False


class _Busy(Exception):
    """Another process, which it names, holds the lock of a run."""


class RayEngine:
    """Runs tasks on a cluster, at most `jobs` at once; by default one per CPU, or per GPU where they compute.

    More jobs than GPUs share them: each has an equal part of one.
    """

    def __init__(self, cluster: Cluster, device: str, say: Callable[[str], None], jobs: int | None = None) -> None:
        self.say, self._jobs = say, jobs
        self.machines = Machines(cluster, device)
        self._queued: deque[StackTask] = deque()
        self._running: dict[Any, _Running] = {}  # by reference of its end
        self._numbered: dict[int, _Running] = {}
        self._letters: deque[Letter] = deque()
        self._mailbox: Any = None
        self._stopped = False
        self._numbers = count()
        self._expected: dict[str, Expected] = {}
        self._epochs: dict[str, int] = {}
        self._data: dict[tuple[Path, str], Data] = {}
        self.machines.require_same()

    @property
    def jobs(self) -> int:
        """The number of tasks at once."""
        return self._jobs or max(1, self._slots())

    def _slots(self) -> int:
        gpus = self.machines.device == "cuda"
        return sum(machine.gpus if gpus else machine.cpus for machine in self.machines.alive())

    def submit(self, task: StackTask) -> None:
        """See `Engine.submit`; LmcError for a task that no machine can ever hold, and for bf16 on CPUs."""
        if self.machines.device == "cpu" and task.runs[0][1].precision == "bf16":
            raise LmcError("precision: bf16 on a CPU has bits of that CPU's kind; leave --engine ray out")
        needed, most = _bytes(task.memory), max((machine.memory for machine in self.machines.alive()), default=None)
        if most is not None and most < needed:
            raise LmcError(
                f"run {task.fingerprints[0]}: a stack of {len(task.runs)} needs {needed / 1e6:.0f} MB of memory, the "
                f"largest machine of {self.machines.cluster.address} has {most / 1e6:.0f}; add a larger one"
            )
        digest = str(require_ready(task.prepared, task.runs[0][1].data.dataset)["digest"])
        for fingerprint, config in task.runs:
            self._expected[fingerprint] = Expected(config, digest, task.numerics)
        self._queued.append(task)

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        """See `Engine.poll`."""
        try:
            yield from self._begin_queued()
            yield from self._news(timeout)
        finally:
            if self._stopped:
                self._release()

    def _news(self, timeout: float) -> Iterator[Event | Ended]:
        refs = list(self._running)
        if refs:
            ray.wait(refs, timeout=timeout)
        else:
            time.sleep(timeout)
        ended = ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
        self._take_letters()  # after that: an ended task has sent all of its letters
        while self._letters:
            yield from self._receive(self._letters.popleft())
        for ref in ended:
            running = self._running.pop(ref)
            del self._numbered[running.number]
            running.locks.close()
            yield Ended(running.task, _failure(ref))
        waiting = [_bytes(running.task.memory) for running in self._running.values() if not running.begun]
        if not self._stopped:
            self.machines.wait_for(waiting, self.say)

    def _release(self) -> None:
        """Forget what was stopped: its machines, or this process, may be used again."""
        for running in self._running.values():
            running.locks.close()
        self._running.clear()
        self._numbered.clear()
        ray.kill(self._mailbox)
        self._mailbox, self._stopped = None, False

    def stop(self) -> None:
        """See `Engine.stop`; a task that has not ended within `GRACE_SECONDS` is killed."""
        self._queued.clear()
        if not self._running:
            return  # the mailbox stays: another one takes seconds
        self._stopped = True
        self._mailbox.stop.remote()
        self._take_letters()
        begun = {letter.attempt for letter in self._letters}
        for ref, running in self._running.items():
            if not running.begun and running.number not in begun:
                ray.cancel(ref)
        refs = list(self._running)
        for ref in ray.wait(refs, num_returns=len(refs), timeout=GRACE_SECONDS)[1] if refs else ():
            ray.cancel(ref, force=True)

    def map(self, function: Callable[[Any], T], tasks: Iterable[Any]) -> Iterator[T]:
        """See `Engine.map`; a task that is lost is computed again."""

        def begin(task: Any) -> tuple[Any, Any]:
            measured = remote.measured_in(task)
            data = self._dataset(measured.prepared, measured.data.dataset) if measured is not None else None
            sources = remote.sources_of(measured) if measured is not None else {}
            call = submitted(remote.measure, **self._resources(0))
            return task, call.remote(function, task, data, sources, self.machines.needed)

        source = iter(tasks)
        # More than can be computed: no process waits. Ray would begin all of them at once where it has more slots.
        ahead = self.jobs + 1 if self._jobs else 2 * self.jobs + 1
        waiting = deque(map(begin, islice(source, ahead)))
        try:
            while waiting:
                crashes = 0
                while (error := self._failed(waiting[0][1])) is not None:
                    crashes += isinstance(error, Lost) and error.blame
                    if not isinstance(error, Lost) or crashes == TRIES:
                        raise LmcError(f"a comparison was given up: {error}") if isinstance(error, Lost) else error
                    waiting[0] = begin(waiting[0][0])
                result = ray.get(waiting.popleft()[1])
                waiting.extend(map(begin, islice(source, 1)))
                yield result
        finally:
            for _, ref in waiting:
                ray.cancel(ref)

    def _failed(self, ref: Any) -> BaseException | None:
        while not ray.wait([ref], timeout=LOOK_SECONDS)[0]:
            self.machines.wait_for([_bytes(0)], self.say)
        return _failure(ref)

    def _begin_queued(self) -> Iterator[Event | Ended]:
        for _ in range(min(len(self._queued), self.jobs - len(self._running)) if self._queued else 0):
            task = self._queued.popleft()
            locks = ExitStack()
            try:
                for fingerprint in sorted(task.fingerprints):  # one order for all processes: no deadlock
                    locks.enter_context(hold(task.working / f"{fingerprint}.lock", _be_busy))
            except _Busy as busy:
                locks.close()
                self._queued.append(task)
                yield Event("waiting", task.fingerprints, 0, str(busy))
                continue
            left = tuple(run for run in task.runs if not RunFolder(task.working / run[0]).is_complete())
            if not left:
                locks.close()
                yield Ended(task)
                continue
            self._begin(replace(task, runs=left), locks)

    def _begin(self, task: StackTask, locks: ExitStack) -> None:
        if self._mailbox is None:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        folders = {name: read_files(RunFolder(task.working / name)) for name in task.fingerprints}
        data = self._dataset(task.prepared, task.runs[0][1].data.dataset)
        sources, pause = remote.sources_of(task), max(1.0, self.jobs / remote.LETTERS_PER_SECOND)
        attempt = Attempt(next(self._numbers), task, folders, data, self.machines.needed, sources, pause)
        train = submitted(remote.train, **self._resources(task.memory))
        ref = train.remote(attempt, partial(_push, self._mailbox))
        self._running[ref] = self._numbered[attempt.number] = _Running(attempt.number, task, locks)

    def _take_letters(self) -> None:
        if self._mailbox is not None:
            try:
                self._letters.extend(ray.get(self._mailbox.take.remote()))
            except lost.RayError as error:
                raise LmcError(f"{self.machines.cluster.address}: {line(error)}; run again to go on") from None

    def _receive(self, letter: Letter) -> Iterator[Event]:
        """Write a letter's files and yield its news; of an attempt that counts as lost, only finished runs are news."""
        running = self._numbered.get(letter.attempt)
        if running is not None:
            running.begun = True
        under_way = [running] if running is not None else self._running.values()
        held = {name: r.task.working for r in under_way for name in r.task.fingerprints}
        new = set[str]()
        for name, files in letter.folders.items():
            if name not in self._expected:
                raise LmcError(f"{letter.machine}: sent a run {name!r} that was not asked for; run again without it")
            if name not in held:
                continue  # nobody waits for it now, and another process may be writing it
            folder = RunFolder(held[name] / name)
            if WHOLE in files:
                new |= {name} if write_whole(folder, files, self._expected[name], letter.machine) else set()
            elif running is not None and not folder.is_complete():
                write_state(folder, files, letter.machine)
                new.add(name)
        for event in letter.events:
            names = [name for name in event.fingerprints if self._is_news(event, name, new, running is not None)]
            if names:
                yield replace(event, fingerprints=tuple(names))

    def _is_news(self, event: Event, name: str, written: set[str], current: bool) -> bool:
        if event.kind != "epoch":
            return name in written
        if not current or event.epoch <= self._epochs.get(name, 0):
            return False  # trained before a loss, too
        self._epochs[name] = event.epoch
        return True

    def _resources(self, memory: int) -> dict[str, Any]:
        """Return what a task takes; of a GPU 1/10,000 is the least that Ray counts."""
        share = min(1.0, (self._slots() or 1) / self.jobs) if self.machines.device == "cuda" else 0
        return {"num_cpus": 1, "num_gpus": int(share * 1e4) / 1e4, "memory": _bytes(memory)}

    def _dataset(self, prepared: Path, name: str) -> Data:
        if (prepared, name) not in self._data:
            key, files = read_dataset(prepared, name)
            self._data[prepared, name] = Data(name, key, partial(_fetch, [ray.put(files)]))
        return self._data[prepared, name]


def _bytes(memory: int) -> int:
    return PROCESS_BYTES + memory


def _push(mailbox: Any, letter: Letter) -> bool:
    size = sum(len(content) for files in letter.folders.values() for content in files.values())
    while size and not ray.get(mailbox.has_room.remote(size)):
        time.sleep(ROOM_SECONDS)
    stop: bool = ray.get(mailbox.push.remote(letter))
    return stop


def _fetch(refs: Sequence[Any]) -> Files:
    """Return a data set's files; Ray would fetch a reference that is an argument itself, needed or not."""
    files: Files = ray.get(refs[0])
    return files


def _be_busy(holder: str) -> None:
    raise _Busy(holder)


def _failure(ref: Any) -> BaseException | None:
    """Return the error of a task that has ended: `Lost` if another try may end well."""
    try:
        ray.get(ref)
    except lost.RayTaskError as raised:
        error: BaseException = raised.cause
    except lost.RayError as raised:
        error = raised
    else:
        return None
    if isinstance(error, GONE):
        return Lost("its machine is gone", blame=False)
    if isinstance(error, lost.OutOfMemoryError | MemoryError):
        return Lost("its machine had no memory for it", blame=True)
    if isinstance(error, lost.WorkerCrashedError):
        return Lost("its worker process died", blame=True)
    return LmcError(line(error)) if isinstance(error, lost.RayError) else error
