"""Progress listeners: their interface, and the simplest one, which prints lines to a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LOG_SECONDS = 600.0
"""A log gets one line per part, and one more after each of these spans."""


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
    """One line per part, and one more with the time that is left every ten minutes."""

    def __init__(self) -> None:
        self._title, self._begun, self._next = "", 0.0, 0.0
        self._total, self._done = 0.0, 0.0

    def line(self, text: str) -> None:
        """Say one line."""
        print(text, file=sys.stderr, flush=True)

    def begin(self, title: str, total: float) -> None:
        """Announce a part."""
        self._title, self._total, self._done, self._begun = title, total, 0.0, time.monotonic()
        self._next = self._begun + _LOG_SECONDS
        self.line(title)

    def advance(self, units: float, note: str = "") -> None:
        """Count; a part of many minutes says how far it is."""
        self._done += units
        now = time.monotonic()
        if now >= self._next and self._done < self._total:
            share = self._done / self._total
            spent = now - self._begun
            self.line(f"{self._title}: {share:.0%}, {spent:.0f} s spent, about {spent / share - spent:.0f} s left")
            self._next = now + _LOG_SECONDS

    def end(self) -> None:
        """Do nothing."""
