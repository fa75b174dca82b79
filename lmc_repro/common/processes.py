"""Names of processes that mean one process on any host, and whether it has ended."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from lmc_repro.common.files import process_exists


def this_process() -> str:
    """Return `host boot namespace pid start` of this process; `-` for what the system does not tell.

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
