"""Atomic files (write to a temporary name, flush, rename) and their checksums."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError


def write_atomic(path: Path, content: bytes, wait: bool = True) -> None:
    """Replace the file at `path` by `content`: a reader, or a crash, sees the old file or the new one.

    `wait` for the disk takes 4 ms. Without it this holds for a killed process, not for a power cut; leave it out for
    files whose sha256 is recorded and compared. Also deletes temporary files left by killed processes, so identical
    outputs contain identical files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            if wait:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        _remove_half_written(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        fix = "remove the folder of that name" if path.is_dir() else "free some space or change the permissions"
        raise LmcError(f"{path}: cannot be written ({error.strerror}); {fix} and run again") from None


def wait_for_disk(path: Path) -> None:
    """Wait until a file written without waiting would survive a power cut."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _remove_half_written(path: Path) -> None:
    head = f".{path.name}."
    for name in os.listdir(path.parent):
        if not (name.startswith(head) and name.endswith(".tmp")):
            continue
        number = name.removeprefix(head).removesuffix(".tmp")
        if number.isdecimal() and not process_exists(int(number)):
            path.with_name(name).unlink(missing_ok=True)


def process_exists(number: int) -> bool:
    """Return whether any user's process with this number runs on this machine: it may still be writing."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def write_json(path: Path, value: Any, wait: bool = True) -> None:
    """Write JSON for people and diffs: sorted keys, two spaces, never NaN; `wait` as in `write_atomic`."""
    write_atomic(path, json_bytes(value), wait)


def json_bytes(value: Any) -> bytes:
    """Return the bytes that `write_json` writes."""
    return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: Path, fix: str) -> Any:
    """Return the JSON value in a file; LmcError that ends with `fix` if it is absent, damaged or not finite."""
    try:
        return json.loads(path.read_bytes(), parse_constant=_finite, parse_float=_finite)
    except (OSError, ValueError) as error:
        raise LmcError(f"{path}: cannot be read ({' '.join(str(error).split())}); {fix}") from None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"found {text}, a number must be finite")
    return number


def sha256_file(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Return the sha256 (hex) of bytes."""
    return hashlib.sha256(content).hexdigest()
