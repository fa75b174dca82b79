"""Progress for people: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from lmc_repro.common.progress import Lines, Listener


class Bars:
    """Rich bars on stderr with the time left."""

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


@contextmanager
def parts(told: Listener) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (what, units done, units in all) that reports one part per `what` to a listener."""
    under_way, before = "", 0

    def on_progress(what: str, done: int, total: int) -> None:
        nonlocal under_way, before
        if what != under_way:
            if under_way:
                told.end()
            told.begin(what, total)
            under_way, before = what, 0
        told.advance(done - before)
        before = done

    try:
        yield on_progress
    finally:
        if under_way:
            told.end()


def listener() -> Bars | Lines:
    """Return bars for a terminal, lines for anything else."""
    return Bars() if sys.stderr.isatty() else Lines()
