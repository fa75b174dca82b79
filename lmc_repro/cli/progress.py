"""Progress of commands: a listener, and one part after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lmc_repro.common.progress import Lines, Listener, listener

__all__ = ["Lines", "listener", "parts"]


@contextmanager
def parts(notify: Listener) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (what, units done, units in all) that reports one part per `what` to a listener."""
    under_way, before = "", 0

    def on_progress(what: str, done: int, total: int) -> None:
        nonlocal under_way, before
        if what != under_way:
            if under_way:
                notify.end()
            notify.begin(what, total)
            under_way, before = what, 0
        notify.advance(done - before)
        before = done

    try:
        yield on_progress
    finally:
        if under_way:
            notify.end()
