"""Progress listeners: their interface, and the simplest one, which prints lines to a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LOG_STEP = 0.1  # a log gets one line per tenth of the total


class Listener(Protocol):
    """Receives progress; draws bars on a terminal or prints lines in a log."""

    def line(self, text: str) -> None:
        """Say one line."""
        ...

    def begin(self, title: str, total: float) -> None:
        """A part of the work begins, of `total` units."""
        ...

    def advance(self, units: float, note: str = "") -> None:
        """Some units are done."""
        ...

    def end(self) -> None:
        """The part is over."""
        ...


@contextmanager
def part(listener: Listener, title: str, total: float) -> Iterator[None]:
    """Begin a part of `total` units, and end it even after an error."""
    listener.begin(title, total)
    try:
        yield
    finally:
        listener.end()


class Lines:
    """One line at the beginning and at every tenth, with the time that is left."""

    def __init__(self) -> None:
        self._title, self._total, self._done, self._begun, self._next = "", 0.0, 0.0, 0.0, _LOG_STEP

    def line(self, text: str) -> None:
        """Say one line."""
        print(text, file=sys.stderr, flush=True)

    def begin(self, title: str, total: float) -> None:
        """Announce a part."""
        self._title, self._total, self._done, self._begun, self._next = title, total, 0.0, time.monotonic(), _LOG_STEP
        self.line(title)

    def advance(self, units: float, note: str = "") -> None:
        """Count, and print a line at each tenth."""
        self._done += units
        share = self._done / self._total if self._total else 1.0
        if share >= self._next:
            spent = time.monotonic() - self._begun
            left = spent / share * (1 - share)
            self.line(f"{self._title}: {share:.0%}, {spent:.0f} s spent, about {max(left, 0):.0f} s left")
            while self._next <= share:
                self._next += _LOG_STEP

    def end(self) -> None:
        """Do nothing."""
