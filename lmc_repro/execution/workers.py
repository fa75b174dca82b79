"""How worker processes start: from a process that has nothing but this project's imports, or anew."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.context import BaseContext


def worker_context() -> BaseContext:
    """Return what workers are started with.

    A fork of this process would inherit torch's and MLflow's threads and locks; a process for each worker imports
    torch, 1.5 s, each time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.preload"])
    return context


def begin_early() -> None:
    """Let the process that workers are forked from import torch while this one goes on; after the numerics mode is set.

    On a CPU this one plans, publishes and judges without torch. The other ends with it, and ignores Ctrl-C, which
    reaches all that a terminal started: this process ends it.
    """
    if worker_context().get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
