"""Which process writes a run, so that one left RUNNING by a crash can be told from one that is training."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lmc_repro.files import process_exists

PROC = Path("/proc")


def this_process() -> str:
    """Return `host boot namespace pid start` of this process, `-` for what the system does not tell."""
    return " ".join((*_place(), str(os.getpid()), _start(os.getpid()) or "-"))


def is_gone(process: str | None) -> bool | None:
    """Return whether the process of a run's tag has ended; None where that cannot be known from here.

    A process of another host, or of another container on this one, cannot be seen. The start time tells a process
    from a later one with its number; where the system does not tell it, only the number counts.
    """
    words = (process or "").split(" ")
    if len(words) != 5 or not words[3].isdecimal():
        return None
    host, boot, namespace, number, start = words
    here = _place()
    if host != here[0]:
        return None
    if boot != here[1]:
        return True  # this machine was started again since
    if namespace != here[2]:
        return None
    if not process_exists(int(number)):
        return True
    now = _start(int(number))
    return start != "-" and now is not None and now != start


def project_run_is_gone(run_id: str) -> bool | None:
    """Return whether no process here belongs to a run that `mlflow run` began; None if that cannot be known.

    What an MLflow project starts has the run's id in its environment. While an `mlflow run` of any project lives, it
    may be about to start one.
    """
    if not (PROC / "self" / "environ").is_file():
        return None
    wanted = {f"{name}={run_id}".encode() for name in ("MLFLOW_RUN_ID", "LMC_PROJECT_RUN")}
    for folder in _processes():
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile, or another user's
        if wanted.intersection(environment):
            return False
        if b"run" in command and any(word.endswith((b"/mlflow", b"mlflow")) for word in command[:3]):
            return None
    return True


def _place() -> tuple[str, str, str]:
    return socket.gethostname().replace(" ", "_") or "-", _boot(), _namespace()


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip() or "-"
    except OSError:
        return "-"


def _namespace() -> str:
    try:
        return os.readlink(PROC / "self/ns/pid")
    except OSError:
        return "-"


def _start(number: int) -> str | None:
    """Return when a process was started, in ticks since the machine was."""
    try:
        # The second field, the name in parentheses, may hold spaces.
        return (PROC / str(number) / "stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _processes() -> Iterator[Path]:
    return (folder for folder in PROC.iterdir() if folder.name.isdecimal())
