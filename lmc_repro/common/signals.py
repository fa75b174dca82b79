"""Ctrl-C and a scheduler's SIGTERM: the command ends in order and prints one line on how to resume."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lmc_repro.common.errors import Interrupted

GO_ON = "interrupted: run the same command again to go on"
IMPATIENT_SECONDS = 2.0
"""Signals within this time of the first count as one: a terminal and `mlflow run` each send one."""

_AGAIN_SECONDS = 0.01


_first: list[tuple[float, int]] = []  # the time and number of the signal


def listen() -> None:
    """Let both signals raise Interrupted, once; another one, seconds later, ends this process where it stands."""
    _first.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not _first:
            _first.append((now, number))
            raise Interrupted(number)
        if now - _first[0][0] > IMPATIENT_SECONDS:
            print(GO_ON, file=sys.stderr, flush=True)
            os._exit(128 + number)  # workers end with their parent; their unfinished files have temporary names

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    _raise_what_was_lost()


@contextmanager
def held_back() -> Iterator[None]:
    """Hold both signals back within the block; the first of them acts at its end.

    A process that is just being started is known to nobody yet: an interruption there would leave it behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def received() -> Interrupted | None:
    """Return the signal received, if any: it may have left a library half imported, which then fails."""
    return Interrupted(_first[0][1]) if _first else None


def _raise_what_was_lost() -> None:
    """Raise Interrupted again a moment later where Python dropped it: in a weak reference's callback or a `__del__`."""
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        if not isinstance(lost.exc_value, Interrupted):
            before(lost)
            return
        number = lost.exc_value.code - 128

        def again(alarm: int, frame: FrameType | None) -> None:
            raise Interrupted(number)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    sys.unraisablehook = hook
