"""Locks: one process at a time writes a run, or the folders of a study; the others learn who holds the lock, and wait.

The system releases a lock when its process ends, even by SIGKILL, so no stale lock remains. A process's name is unique
across hosts and shows whether the process has ended.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import process_exists, write_atomic

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
    """Return who holds a lock: `process 123 on host`, or `another process` where unknown."""
    try:
        words = holder_file(lock).read_text().split(" ")
    except (OSError, ValueError):
        words = []
    # A new holder may not have written its name yet.
    if len(words) != 5 or not words[3].isdecimal() or is_gone(" ".join(words)):
        return "another process"
    return f"process {words[3]} on {words[0]}"


def this_process() -> str:
    """Return `host boot namespace pid start` of this process; `-` for parts the system does not report.

    `start` is the process's start in clock ticks since boot, which a correction of the clock does not change.
    """
    return " ".join((*_place(), str(os.getpid()), _start(os.getpid()) or "-"))


def is_gone(process: str | None) -> bool | None:
    """Return whether a process named by `this_process` has ended; None where this machine cannot know.

    Processes of other hosts and containers cannot be seen. A later process with the same number has another start;
    where the start is not known, only the number counts.
    """
    words = (process or "").split(" ")
    if len(words) != 5 or not words[3].isdecimal():
        return None
    host, boot, namespace, number, start = words
    here = _place()
    if host != here[0]:
        return None
    if boot != here[1]:
        return True  # the machine was restarted since
    if namespace != here[2]:
        return None
    if not process_exists(int(number)):
        return True
    now = _start(int(number))
    return start != "-" and now is not None and now != start


def _place() -> tuple[str, str, str]:
    boot = namespace = "-"
    with suppress(OSError):  # not Linux
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() or "-"
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return socket.gethostname().replace(" ", "_") or "-", boot, namespace


def _start(number: int) -> str | None:
    """Return a process's start in clock ticks since boot; None where it is not known."""
    with suppress(ImportError, OSError, RuntimeError):  # a machine that only trains has no psutil
        import psutil

        with suppress(psutil.Error):
            seconds = psutil.Process(number).create_time() - psutil.boot_time()
            # Elsewhere, corrections of the clock move the boot time.
            return str(round(seconds * os.sysconf("SC_CLK_TCK"))) if psutil.LINUX else None
    return None
