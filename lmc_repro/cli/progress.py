"""Progress for people: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lmc_repro.common.progress import Lines, Listener

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


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
