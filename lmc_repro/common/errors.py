"""The one error for a user's mistakes: a single line with the place, the value found, those allowed, and the fix."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any


class LmcError(Exception):
    """A mistake that a user can fix; the command line prints its one line and exits with 2."""


class Interrupted(BaseException):
    """Ctrl-C or a scheduler's SIGTERM. Not KeyboardInterrupt, which Typer turns into `Aborted!` and exit code 1.

    `code` is the exit code that a shell gives to a process ended by that signal: 130, 143.
    """

    def __init__(self, number: int = 2) -> None:
        super().__init__(number)
        self.code = 128 + number


def own_code(name: str, call: Callable[[], Any], but: type[Exception] = LmcError) -> Any:
    """Call a user's code; turn its error into LmcError with `name`, error and line; let `but` pass."""
    try:
        return call()
    except (LmcError, but):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = " ".join(str(error).split()) or "no message"
        raise LmcError(f"{name}: {type(error).__name__}: {told} ({where.filename}, line {where.lineno})") from None
