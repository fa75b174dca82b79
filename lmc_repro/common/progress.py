"""Progress listeners: plain lines for a log, bars for a terminal or a notebook."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_LOG_SECONDS = 600.0
"""A log gets one line per part, and one more after each of these spans."""


class Lines:
    """Listener to progress that prints: a line per part, one more with the time that is left every ten minutes."""

    def __init__(self) -> None:
        self._title, self._begun, self._next = "", 0.0, 0.0
        self._total, self._done = 0.0, 0.0

    def line(self, text: str) -> None:
        """Say one line."""
        print(text, file=sys.stderr, flush=True)

    def begin(self, title: str, total: float) -> None:
        """A part of the work begins, of `total` units."""
        self._title, self._total, self._done, self._begun = title, total, 0.0, time.monotonic()
        self._next = self._begun + _LOG_SECONDS
        self.line(title)

    def advance(self, units: float, note: str = "") -> None:
        """Some units are done."""
        self._done += units
        now = time.monotonic()
        if now >= self._next and self._done < self._total:
            share = self._done / self._total
            spent = now - self._begun
            self.line(f"{self._title}: {share:.0%}, {spent:.0f} s spent, about {spent / share - spent:.0f} s left")
            self._next = now + _LOG_SECONDS

    def end(self) -> None:
        """The part is over."""


Listener = Lines
"""Any listener: a subclass shows progress in another way."""


@contextmanager
def part(listener: Listener, title: str, total: float) -> Iterator[None]:
    """Begin a part of `total` units, and end it even after an error."""
    listener.begin(title, total)
    try:
        yield
    finally:
        listener.end()


class Bars(Lines):
    """Rich bars on stderr, or in a notebook, with the time left."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def line(self, text: str) -> None:
        """Print one line above the bar."""
        if self._progress is not None:
            self._progress.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr)

    def begin(self, title: str, total: float) -> None:
        """Show a bar of `total` units."""
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        columns = (*Progress.get_default_columns(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._progress.add_task(title, total=total, note="")
        self._progress.start()

    def advance(self, units: float, note: str = "") -> None:
        """Advance the bar."""
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], advance=units, note=note)

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None


def listener() -> Listener:
    """Return bars for a terminal and for a notebook that has widgets, lines for anything else."""
    widgets = "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None
    return Bars() if sys.stderr.isatty() or widgets else Lines()
