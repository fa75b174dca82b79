"""Takes leftovers away, each under its run's lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from lmc_repro.leftovers.find import REMOVING, Leftover


def remove(leftovers: Sequence[Leftover]) -> Iterator[tuple[Leftover, str | None]]:
    """Remove each and yield it with None, or with the reason why it stays: a run that has begun since, or an error.

    A folder first takes another name, so that no process ever sees half of a run.
    """
    for leftover in leftovers:
        try:
            with ExitStack() as held:
                if leftover.lock is not None and leftover.lock.parent.is_dir():
                    held.enter_context(FileLock(leftover.lock, timeout=0))
                _take_away(leftover.path)
        except Timeout:
            yield leftover, "under way now"
        except OSError as error:
            yield leftover, f"{error.filename or leftover.path}: {error.strerror}"
        else:
            yield leftover, None


def _take_away(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = path if path.name.startswith(REMOVING) else path.with_name(REMOVING + path.name)
    if aside != path:
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
    shutil.rmtree(aside)
