"""A prepared folder takes its place whole, or not at all. Quick to import: DVC notes each unused data set with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from lmc_repro.data.status import Status, write_status


def note_unused(name: str, prepared_dir: Path) -> Status:
    """Leave prepared_dir/name with a status.json that says `unused`, and nothing else; returns it."""
    with locked(prepared_dir, name):
        return write_only(prepared_dir, name, {"state": "unused", "reason": "no study of this profile uses it"})


@contextmanager
def locked(prepared_dir: Path, name: str) -> Iterator[None]:
    """Be the only process that prepares this data set, and clear away what a killed one left."""
    prepared_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(prepared_dir / f".{name}.lock"):
        for leftover in prepared_dir.glob(f".{name}.tmp-*"):  # of a killed process: the lock is ours now
            shutil.rmtree(leftover)
        yield


def write_only(prepared_dir: Path, name: str, status: Status) -> Status:
    """Make prepared_dir/name hold this status.json alone; returns `status`."""
    with new_folder(prepared_dir, name) as folder:
        write_status(folder, status)
    return status


@contextmanager
def new_folder(prepared_dir: Path, name: str) -> Iterator[Path]:
    """Fill a new folder that takes the place of prepared_dir/name only if the block ends well."""
    folder, target = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=prepared_dir)), prepared_dir / name
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp makes it private
        if target.exists():
            # A folder cannot replace a full one: the old one goes into the new one's shadow first.
            old = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=prepared_dir))
            os.replace(target, old)
            os.replace(folder, target)
            shutil.rmtree(old)
        else:
            os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
