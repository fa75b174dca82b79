"""Files that are there whole and as recorded, or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lmc_repro.data.remote import RemoteFile
from lmc_repro.errors import LmcError


def hash_of(path: Path, algorithm: str) -> str:
    """Return the checksum of a file as hex; `algorithm` is sha256 or md5."""
    with path.open("rb") as file:
        # md5 tells a damaged file, not an attacker's: it stands only where the publisher's file has no other.
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def check(path: Path, file: RemoteFile, fix: str) -> None:
    """Raise an LmcError, naming `path` and ending in `fix`, unless it has the size and checksum of `file`."""
    size = path.stat().st_size
    if file.size and size != file.size:
        raise LmcError(f"{path}: {size} bytes, expected {file.size}; {fix}")
    found = hash_of(path, file.algorithm)
    if found != file.checksum:
        raise LmcError(f"{path}: {file.algorithm} {found}, expected {file.checksum}; {fix}")


@contextmanager
def whole_file(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Write to a temporary file beside `target` that takes its name only if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out, path
        path.chmod(0o644)  # mkstemp makes it private
        os.replace(path, target)
    finally:
        path.unlink(missing_ok=True)
