"""Run folders and data sets as bytes on their way between machines, and the checks before any of them is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import json_bytes, sha256_bytes, sha256_file, write_atomic
from lmc_repro.common.numerics import torch_version
from lmc_repro.config.base import parse_epoch
from lmc_repro.config.run import RunConfig
from lmc_repro.data.status import STATUS, folder_of, locked, new_folder, require_ready
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.run_folder import RunFolder, checkpoint_name, clear_progress, content_names

Files = Mapping[str, bytes]
"""Contents by name within one folder."""

PROGRESS, WHOLE = "progress.json", "status.json"
"""The file that names all others of an unfinished run, and of a finished one: written last."""

_NAMES = re.compile(
    r"(config|progress)\.json|metrics\.csv|state-\d{4,}\.safetensors|checkpoints/epoch-\d{4,}(\.\d+)?\.safetensors"
)
_OF_DATA = ("train.safetensors", "test.safetensors", STATUS)


@dataclass(frozen=True)
class Expected:
    """The facts that a whole run folder has to record, known before it was trained."""

    config: RunConfig
    data_digest: str
    numerics: str


def read_files(folder: RunFolder, without: Collection[str] = ()) -> dict[str, bytes]:
    """Return the files of a run but those named: all of a finished one, the newest state of an unfinished one."""
    found = ((path.relative_to(folder.path).as_posix(), path) for path in sorted(folder.path.rglob("*")))
    known = ((name, path) for name, path in found if name == WHOLE or _NAMES.fullmatch(name))
    return {name: path.read_bytes() for name, path in known if name not in without}


def write_files(folder: RunFolder, files: Files) -> None:
    """Write files that were checked, those that name the others last."""
    for name in sorted(files, key=lambda name: (name in (PROGRESS, WHOLE), name)):
        write_atomic(folder.path / name, files[name], wait=name in (PROGRESS, WHOLE))


def write_state(folder: RunFolder, files: Files, sender: str) -> None:
    """Write the newer state of an unfinished run in place of the older.

    Raises:
        LmcError: A name does not belong to a run folder, or a content is not the one that progress.json names.
    """
    if strange := [name for name in files if not _NAMES.fullmatch(name)]:
        raise _refused(folder, sender, f"a file named {strange[0]!r}")
    try:
        record = json.loads(files[PROGRESS])
        named = {str(record["state"]["file"]): record["state"]["sha256"]}
        named |= {f"checkpoints/{checkpoint_name(parse_epoch(e))}": sha for e, sha in record["checkpoints"].items()}
        ours = record["fingerprint"] == folder.fingerprint
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _refused(folder, sender, f"a damaged {PROGRESS}") from None
    if not ours:
        raise _refused(folder, sender, "the state of another run")
    for name in files.keys() - {PROGRESS, "config.json", "metrics.csv"}:
        if named.get(name) != sha256_bytes(files[name]):
            raise _refused(folder, sender, f"a damaged {name}")
    write_files(folder, files)
    for old in folder.path.glob("state-*.safetensors"):
        if old.name not in named:
            old.unlink(missing_ok=True)


def write_whole(folder: RunFolder, files: Files, expected: Expected, sender: str) -> bool:
    """Write a finished run; return False if it is there already, with the same bytes.

    Raises:
        LmcError: The files are not those of this run, or differ from those that another machine made.
    """
    names = content_names(expected.config.evaluate_at)
    if strange := sorted(files.keys() ^ {*names, WHOLE}):
        raise _refused(folder, sender, f"{'a' if strange[0] in files else 'no'} file named {strange[0]!r}")
    sums = {name: sha256_bytes(files[name]) for name in files}
    facts: dict[str, Any] = {
        "fingerprint": folder.fingerprint,
        "data_digest": expected.data_digest,
        "numerics": expected.numerics,
        "torch": torch_version(),
        "training_numerics": TRAINING_NUMERICS,
        "files": {name: sums[name] for name in names},
    }
    try:
        status = json.loads(files[WHOLE])
        wrong = [key for key, value in facts.items() if status.get(key) != value]
    except (ValueError, AttributeError):
        wrong = ["nothing that can be read"]
    if files["config.json"] != json_bytes(expected.config.model_dump(mode="json")):
        wrong.append("config")
    if wrong:
        raise _refused(folder, sender, f"a {WHOLE} with another {wrong[0]}")
    if folder.is_complete():
        if differing := [name for name in sorted(files) if sha256_file(folder.path / name) != sums[name]]:
            raise LmcError(
                f"{folder.path / differing[0]}: another machine made other bytes than {sender}; one of them computes "
                f"wrongly: find it with `lmc reproduce`, delete {folder.path} and run again without it"
            )
        return False
    write_files(folder, files)
    clear_progress(folder)
    return True


def _refused(folder: RunFolder, sender: str, found: str) -> LmcError:
    return LmcError(f"run {folder.fingerprint}: found {found} in what {sender} sent; run again without that machine")


def read_dataset(prepared: Path, name: str) -> tuple[str, dict[str, bytes]]:
    """Return a prepared data set's key, 16 hex digits over its status.json, and the files of the resident loader."""
    require_ready(prepared, name)
    folder = folder_of(prepared, name)
    files = {part: (folder / part).read_bytes() for part in _OF_DATA}
    return sha256_bytes(files[STATUS])[:16], files


def keep_dataset(cache: Path, name: str, key: str, fetch: Callable[[], Files]) -> Path:
    """Return the folder of prepared data sets that has this one, fetched where no process of this machine did so."""
    prepared = cache / "data" / key
    with locked(prepared, name):
        if not folder_of(prepared, name).is_dir():
            with new_folder(prepared, name) as folder:
                for part, content in fetch().items():
                    write_atomic(folder / Path(part).name, content)
    return prepared
