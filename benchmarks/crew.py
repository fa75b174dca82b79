"""Processes that make a piece of work ready, and then do it side by side whenever they are told to.

So loops that are compared take turns: what disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.spread import spread

Work = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """`maker` (module:function), called with `given` in a new process, returns the work, a function of no arguments.

    `threads` is what torch and its libraries may use there.
    """

    maker: str
    given: dict[str, Any] = field(default_factory=dict)
    threads: int = 1


class Crew:
    """One process a task. A context: they end with it."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        context = _context()
        self._pipes: list[Connection] = []
        self._processes = []
        for task in tasks:
            ours, theirs = context.Pipe()
            # Not a daemon: torch's DataLoader starts processes of its own.
            process = context.Process(target=_work, args=(task, theirs), daemon=False)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.peak_bytes = 0
        self._answers()

    def lap(self) -> tuple[float, list[Any]]:
        """Return the seconds until all have done their work once, and what each returned."""
        begun = time.perf_counter()
        for pipe in self._pipes:
            pipe.send("go")
        done = self._answers()
        return time.perf_counter() - begun, done

    def _answers(self) -> list[Any]:
        answers = []
        for pipe in self._pipes:
            kind, *answer = pipe.recv()
            if kind == "failed":
                raise RuntimeError(f"a benchmark's process failed:\n{answer[0]}")
            answers.append(answer)
        # The sum of each process's own highest.
        self.peak_bytes = max(self.peak_bytes, sum(peak for _, peak in answers))
        return [value for value, _ in answers]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()


def take_turns(crews: Mapping[str, Sequence[Task]], repeats: int, warm_up: int = 1) -> dict[str, dict[str, Any]]:
    """Let each crew do its work `repeats` times, in turns; return `seconds`, `peak_mb` and last `values`."""
    with ExitStack() as stack:
        open_crews = {name: stack.enter_context(Crew(tasks)) for name, tasks in crews.items()}
        laps: dict[str, list[float]] = {name: [] for name in crews}
        values: dict[str, list[Any]] = {}
        for turn in range(warm_up + repeats):
            for name, crew in open_crews.items():
                seconds, values[name] = crew.lap()
                if turn >= warm_up:
                    laps[name].append(seconds)
        return {
            name: {"seconds": spread(laps[name]), "peak_mb": crew.peak_bytes / 1e6, "values": values[name]}
            for name, crew in open_crews.items()
        }


def _context() -> Any:
    """Return how processes start: from one that has imported what they need and computed nothing, or anew."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.preload"])
    return context


def _work(task: Task, pipe: Connection) -> None:
    try:
        import torch

        torch.set_num_threads(task.threads)
        module, _, name = task.maker.partition(":")
        work = getattr(importlib.import_module(module), name)(**task.given)
        pipe.send(("ready", None, peak_bytes()))
        while pipe.recv() == "go":
            value = work()
            pipe.send(("done", value, peak_bytes()))
    except EOFError:
        return
    except BaseException:
        pipe.send(("failed", traceback.format_exc()))


def peak_bytes() -> int:
    """Return the most memory that this process held at once."""
    import resource

    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says begins with the parent's
        own = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * own
