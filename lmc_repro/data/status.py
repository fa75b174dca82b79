"""The folder of a prepared data set and its status.json; imports no torch, since DVC asks for each unused data set.

A data set of one's own, `flowers.py:FLOWERS`, has the folder `flowers-py-FLOWERS`; its status names the file's content.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from filelock import FileLock

from lmc_repro.common.errors import LmcError
from lmc_repro.config.own_code import is_own, pinned, short_name

STATUS = "status.json"


class Status(TypedDict):
    """Content of status.json: no dates, no paths, so that equal data give equal bytes.

    `digest` is that of the decoded arrays (see `data_digest`), `files` the sha256 of each file beside status.json,
    `described_by` the pinned name of a data set of one's own.
    """

    state: Literal["ready", "unused", "absent"]
    reason: NotRequired[str]
    digest: NotRequired[str]
    n_train: NotRequired[int]
    n_test: NotRequired[int]
    files: NotRequired[dict[str, str]]
    described_by: NotRequired[str]


def ffcv_installed() -> bool:
    """Return whether the extra `ffcv` is there; one that is there and cannot be loaded is no data set's concern."""
    try:
        return importlib.util.find_spec("ffcv") is not None
    except ImportError:  # hidden by an import hook
        return False


def folder_of(prepared_dir: Path, name: str) -> Path:
    """Return the folder of a data set."""
    return prepared_dir / re.sub(r"[^A-Za-z0-9_-]+", "-", short_name(name))


def read_status(prepared_dir: Path, name: str) -> Status | None:
    """Return the status of a data set, or None if there is none; LmcError if it cannot be read.

    The status of another data set, or of an earlier description in a file of one's own, counts as none.
    """
    path, fix = folder_of(prepared_dir, name) / STATUS, f"delete it and run `lmc prepare {short_name(name)}`"
    try:
        status = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LmcError(f"{path}: cannot be read ({' '.join(str(error).split())}); {fix}") from None
    if not isinstance(status, dict) or status.get("state") not in ("ready", "unused", "absent"):
        raise LmcError(f"{path}: is not a status of a data set; {fix}")
    return status if status.get("described_by") == _description(name) else None  # type: ignore[return-value]


def require_ready(prepared_dir: Path, name: str) -> Status:
    """Return the status of a data set that is ready; LmcError with the recorded reason if it is not."""
    status = read_status(prepared_dir, name)
    where = f"{folder_of(prepared_dir, name)}: data set {short_name(name)} is"
    if status is None:
        raise LmcError(f"{where} not prepared; run `lmc prepare {short_name(name)}`")
    if status["state"] != "ready":
        raise LmcError(f"{where} {status['state']}: {status.get('reason', 'no reason recorded')}")
    return status


def _description(name: str) -> str | None:
    return pinned(name) if is_own(name) else None


def write_status(folder: Path, status: Status, name: str = "") -> None:
    """Write folder/status.json of a data set with sorted keys."""
    if description := _description(name):
        status["described_by"] = description
    (folder / STATUS).write_text(json.dumps(status, indent=2, sort_keys=True) + "\n", "utf-8")


def note_unused(name: str, prepared_dir: Path) -> Status:
    """Make a data set's folder hold only a status.json with state `unused`; return it."""
    with locked(prepared_dir, name):
        return write_only(prepared_dir, name, {"state": "unused", "reason": "no study of this profile uses it"})


@contextmanager
def locked(prepared_dir: Path, name: str) -> Iterator[None]:
    """Hold the lock of this data set, and delete temporary folders left by killed processes."""
    prepared_dir.mkdir(parents=True, exist_ok=True)
    name = folder_of(prepared_dir, name).name
    with FileLock(prepared_dir / f".{name}.lock"):
        for leftover in prepared_dir.glob(f".{name}.tmp-*"):
            shutil.rmtree(leftover)
        yield


def write_only(prepared_dir: Path, name: str, status: Status) -> Status:
    """Make a data set's folder hold this status.json alone; return `status`."""
    with new_folder(prepared_dir, name) as folder:
        write_status(folder, status, name)
    return status


@contextmanager
def new_folder(prepared_dir: Path, name: str) -> Iterator[Path]:
    """Yield a new folder that takes the place of a data set's only if the block ends without an error."""
    target = folder_of(prepared_dir, name)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=prepared_dir))
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        if target.exists():  # a folder cannot replace a full one: the old one moves aside first
            os.replace(target, old)
        os.replace(new, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
