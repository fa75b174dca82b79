"""The one error for a user's mistakes: a single line with the place, the value found, those allowed, and the fix."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class LmcError(Exception):
    """A mistake that a user can fix; the command line prints its one line and exits with 2.

    `lines` holds it and the lines of all mistakes that were found with it, which `lmc check` prints.
    """

    def __init__(self, line: str, *more: str) -> None:
        super().__init__(f"{line} (and {len(more)} more)" if more else line)
        self.lines = (line, *more)

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows of it."""
        return [f"LmcError: {line}" for line in self.lines]


class Interrupted(BaseException):
    """Ctrl-C or a scheduler's SIGTERM. Not KeyboardInterrupt, which Typer turns into `Aborted!` and exit code 1.

    `code` is the exit code that a shell gives to a process ended by that signal: 130, 143.
    """

    def __init__(self, number: int = 2) -> None:
        super().__init__(number)
        self.code = 128 + number


def nearest(found: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word that `found` is likely to be a misspelling of, None if none is near."""
    return next(iter(difflib.get_close_matches(found, list(allowed), n=1)), None)


def meant(found: str, allowed: Iterable[str]) -> str:
    """Return `did you mean WORD?`, or nothing if no allowed word is near."""
    return f"did you mean {word}?" if (word := nearest(found, allowed)) else ""


def choices(found: str, allowed: Collection[str], place: str = "") -> str:
    """Return the words of an error for a value that is none of the allowed ones, which stand in `place`."""
    where = f" ({place})" if place else ""
    hint = f"; {hint}" if (hint := meant(found, allowed)) else ""
    return f"found {found!r}, allowed: {', '.join(allowed) or 'none'}{where}{hint}"


def every(calls: Iterable[Callable[[], T]]) -> list[T]:
    """Return the values of all calls; LmcError with the lines of all that fail."""
    values, lines = [], dict[str, None]()
    for call in calls:
        try:
            values.append(call())
        except LmcError as error:
            lines |= dict.fromkeys(error.lines)
    if lines:
        raise LmcError(*lines)
    return values


def own_code(name: str, call: Callable[[], Any], but: type[Exception] = LmcError) -> Any:
    """Call a user's code; turn its error into LmcError with `name`, error and line; let `but` pass."""
    try:
        return call()
    except (LmcError, but):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split()) or "no message"
        raise LmcError(f"{name}: {type(error).__name__}: {message} ({where.filename}, line {where.lineno})") from None
