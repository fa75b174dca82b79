"""status.json of a prepared data set: whether it is there, why not, and what its bytes must be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from lmc_repro.errors import LmcError

STATUS = "status.json"


class Status(TypedDict):
    """Content of status.json: no dates, no paths, so that equal data give equal bytes.

    `digest` is that of the decoded arrays (see `data_digest`), `files` the sha256 of each file beside status.json.
    """

    state: Literal["ready", "unused", "absent"]
    reason: NotRequired[str]
    digest: NotRequired[str]
    n_train: NotRequired[int]
    n_test: NotRequired[int]
    files: NotRequired[dict[str, str]]


def read_status(prepared_dir: Path, name: str) -> Status | None:
    """Return prepared_dir/name/status.json, or None if there is none; LmcError if it cannot be understood."""
    path = prepared_dir / name / STATUS
    try:
        status = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LmcError(f"{path}: cannot be read ({_one_line(error)}); delete it and run `lmc prepare {name}`") from None
    if not isinstance(status, dict) or status.get("state") not in ("ready", "unused", "absent"):
        raise LmcError(f"{path}: is not a status of a data set; delete it and run `lmc prepare {name}`")
    return status  # type: ignore[return-value]


def require_ready(prepared_dir: Path, name: str) -> Status:
    """Return the status of a data set that is ready; LmcError with the recorded reason if it is not."""
    status = read_status(prepared_dir, name)
    if status is None:
        raise LmcError(f"{prepared_dir / name}: data set {name} is not prepared; run `lmc prepare {name}`")
    if status["state"] != "ready":
        reason = status.get("reason", "no reason recorded")
        raise LmcError(f"{prepared_dir / name}: data set {name} is {status['state']}: {reason}")
    return status


def write_status(folder: Path, status: Status) -> None:
    """Write folder/status.json with sorted keys."""
    (folder / STATUS).write_text(json.dumps(status, indent=2, sort_keys=True) + "\n", "utf-8")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
