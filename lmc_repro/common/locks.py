"""Locks: one process at a time writes a run, or the folders of a study; the others learn who holds the lock, and wait.

The system releases a lock when its process ends, even by SIGKILL: nothing is left to clear away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_atomic
from lmc_repro.common.processes import is_gone, this_process

POLL_SECONDS = 0.2


@contextmanager
def hold(lock: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file exclusively, and name this process beside it meanwhile.

    Args:
        lock: The lock file; made if it is missing.
        on_wait: Called every `POLL_SECONDS` while another process holds the lock, with that process in words (see
            `holder`). It ends the waiting by raising.
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
        with suppress(LmcError):  # the name only helps; on a full disk, the writes under the lock say what is wrong
            write_atomic(name, this_process().encode())
        yield
    finally:
        name.unlink(missing_ok=True)
        held.release()


def is_held(lock: Path) -> bool:
    """Return whether a process holds a lock; does not create the lock file."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def holder_file(lock: Path) -> Path:
    """Return where the holder of a lock is named: not in the lock file, which every attempt to acquire it empties."""
    return lock.with_name(f"{lock.name}.holder")


def holder(lock: Path) -> str:
    """Return who holds a lock: `process 123 on host`, or `another process` where that is not known."""
    try:
        words = holder_file(lock).read_text().split(" ")
    except (OSError, ValueError):
        words = []
    # A new holder may not have written its name yet.
    if len(words) != 5 or not words[3].isdecimal() or is_gone(" ".join(words)):
        return "another process"
    return f"process {words[3]} on {words[0]}"
