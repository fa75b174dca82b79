"""Progress for people: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lmc_repro.studies.workspace import Listener

_LOG_STEP = 0.1  # a log gets a line each tenth of the work


class Bars:
    """Rich bars on stderr with the time left."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def line(self, text: str) -> None:
        """Say one line above the bar."""
        if self._progress is not None:
            self._progress.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr)

    def begin(self, title: str, total: float) -> None:
        """Show a bar of `total` units."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._progress = Progress(
            *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True)
        )
        self._task = self._progress.add_task(title, total=total, note="")
        self._progress.start()

    def advance(self, units: float, note: str = "") -> None:
        """Move the bar on."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=units, note=note)

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None


class Lines:
    """One line at the beginning and at every tenth, with the time that is left."""

    def __init__(self) -> None:
        self._title, self._total, self._done, self._begun, self._next = "", 0.0, 0.0, 0.0, _LOG_STEP

    def line(self, text: str) -> None:
        """Say one line."""
        print(text, file=sys.stderr, flush=True)

    def begin(self, title: str, total: float) -> None:
        """Announce a part of the work."""
        self._title, self._total, self._done, self._begun, self._next = title, total, 0.0, time.monotonic(), _LOG_STEP
        self.line(title)

    def advance(self, units: float, note: str = "") -> None:
        """Count, and speak at each tenth."""
        self._done += units
        share = self._done / self._total if self._total else 1.0
        if share >= self._next:
            spent = time.monotonic() - self._begun
            left = spent / share * (1 - share)
            self.line(f"{self._title}: {share:.0%}, {spent:.0f} s spent, about {max(left, 0):.0f} s left")
            while self._next <= share:
                self._next += _LOG_STEP

    def end(self) -> None:
        """Nothing to tidy."""


class Parts:
    """Tells a listener of work that reports as (what, units done, units in all): a part for each `what`."""

    def __init__(self, told: Listener) -> None:
        self._told, self._what, self._done = told, "", 0

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Begin a part, or move on in it."""
        if what != self._what:
            self.end()
            self._told.begin(what, total)
            self._what = what
        self._told.advance(done - self._done)
        self._done = done

    def end(self) -> None:
        """End the part that is under way, if any."""
        if self._what:
            self._told.end()
        self._what, self._done = "", 0


def listener() -> Bars | Lines:
    """Return bars for a terminal, lines for anything else."""
    return Bars() if sys.stderr.isatty() else Lines()
