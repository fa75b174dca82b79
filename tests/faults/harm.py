"""What happens to files: cut short, one byte other than it was, emptied, not to be read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Give a file other bytes; not through links that other folders share."""
    remove(path)
    path.write_bytes(content)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def cut(path: Path, at: int | None = None) -> None:
    content = path.read_bytes()
    replace(path, content[: len(content) // 2])


def flip(path: Path, at: int | None = None) -> None:
    """Flip a bit of the byte `at`, by default the one in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    replace(path, bytes(content))


def empty(path: Path, at: int | None = None) -> None:
    replace(path, b"")


def unreadable(path: Path, at: int | None = None) -> None:
    """Put a folder in the place of the file: permissions do not bind a superuser, this does."""
    remove(path)
    path.mkdir()


HARM: dict[str, Callable[..., None]] = {"cut": cut, "flipped": flip, "emptied": empty, "unreadable": unreadable}
