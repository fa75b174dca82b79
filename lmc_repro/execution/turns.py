"""One process at a time writes a run, or the folders of a study; the others are told who has the turn, and wait.

The system takes a turn back when its process ends, however that comes about: nothing is left to clear away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lmc_repro.errors import LmcError
from lmc_repro.files import write_atomic
from lmc_repro.tracking.processes import is_gone, this_process

POLL_SECONDS = 0.2


@contextmanager
def turn(lock: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `lock`, and name this process beside it while that lasts.

    As long as another process has it, `on_wait` is called again and again with that one's number and host in words; it
    ends the waiting by raising.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held, name = FileLock(lock), holder_file(lock)
    while True:
        try:
            held.acquire(timeout=POLL_SECONDS)
            break
        except Timeout:
            on_wait(holder(lock))
    try:
        with suppress(LmcError):  # a name is a help; on a full disk the work itself says what is wrong
            write_atomic(name, this_process().encode())
        yield
    finally:
        name.unlink(missing_ok=True)
        held.release()


def holder_file(lock: Path) -> Path:
    """Return where the holder of a lock is named: not in the lock file, which each attempt to take it empties."""
    return lock.with_name(f"{lock.name}.holder")


def holder(lock: Path) -> str:
    """Return who has a lock, as `process 123 on host`, or `another process` where that cannot be read."""
    try:
        words = holder_file(lock).read_text().split(" ")
    except (OSError, ValueError):
        words = []
    # A new holder may not have written its name yet.
    if len(words) != 5 or not words[3].isdecimal() or is_gone(" ".join(words)):
        return "another process"
    return f"process {words[3]} on {words[0]}"
