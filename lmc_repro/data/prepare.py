"""`lmc prepare`: turns the publishers' files into the two forms that training reads, complete or not at all."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_file
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.data.acquire import Progress, Unavailable, fetch
from lmc_repro.data.beton import read_beton, write_beton
from lmc_repro.data.dataset import Split, data_digest
from lmc_repro.data.readers import read_arrays
from lmc_repro.data.status import (
    STATUS,
    Status,
    ffcv_installed,
    folder_of,
    locked,
    new_folder,
    read_status,
    write_only,
    write_status,
)


def prepare(
    name: str,
    prepared_dir: Path,
    raw_dir: Path,
    mirror: Path | None,
    on_progress: Progress | None = None,
    info: DatasetInfo | None = None,
) -> Status:
    """Prepare a data set in its folder of prepared_dir, and return its status.json.

    Ready: {train,test}.safetensors and, where ffcv is installed, {train,test}.beton with the same arrays, one digest
    over both. Unavailable on this machine: status.json alone, `absent` with the reason. A ready folder whose files are
    as recorded is kept as it is, unless .beton files can be added. `info` defaults to the catalog's entry. Equal data
    give equal bytes.

    Raises:
        LmcError: A file has wrong content, the mirror is missing, or ffcv is broken; the folder stays as it was.
    """
    info = info or dataset_info(name)
    with locked(prepared_dir, name):
        ready = _ready_status(prepared_dir, name, info)
        if ready is not None:
            return ready
        try:
            place = fetch(info, raw_dir, mirror, on_progress)
        except Unavailable as error:
            return write_only(prepared_dir, name, {"state": "absent", "reason": str(error)})
        train, test = read_arrays(info, place, on_progress)
        digest = data_digest(train, test)
        if info.digest not in ("", digest):
            raise LmcError(
                f"{info.source}: the decoded arrays have digest {digest}, expected {info.digest}; "
                "install the versions in constraints.txt"
            )
        with new_folder(prepared_dir, name) as folder:
            return _write_arrays(folder, train, test, digest, name)


def _write_arrays(folder: Path, train: Split, test: Split, digest: str, name: str) -> Status:
    """Write the forms of both splits and status.json; check that the FFCV files hold the same arrays."""
    for label, split in (("train", train), ("test", test)):
        path = folder / f"{label}.safetensors"
        save_file({"images": split.images, "labels": split.labels}, path)
        path.chmod(0o644)  # safetensors makes it private
        if not ffcv_installed():
            continue
        write_beton(folder / f"{label}.beton", split)
        streamed = read_beton(folder / f"{label}.beton")
        if not (torch.equal(streamed.images, split.images) and torch.equal(streamed.labels, split.labels)):
            raise LmcError(f"{folder}: ffcv reads back other arrays than were written; use the tested version of ffcv")
        del streamed  # as large as the split itself
    status: Status = {
        "state": "ready",
        "digest": digest,
        "n_train": len(train),
        "n_test": len(test),
        "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir())},
    }
    write_status(folder, status, name)
    return status


def _ready_status(prepared_dir: Path, name: str, info: DatasetInfo) -> Status | None:
    """Return the status of a data set whose files are all as recorded; None where it must be prepared again."""
    try:
        status = read_status(prepared_dir, name)
    except LmcError:
        return None
    if status is None or status["state"] != "ready" or info.digest not in ("", status.get("digest")):
        return None
    folder, files = folder_of(prepared_dir, name), status.get("files", {})
    if {path.name for path in folder.iterdir()} != {*files, STATUS}:
        return None
    if ffcv_installed() and "train.beton" not in files:
        return None
    try:
        return status if all(sha256_file(folder / file) == found for file, found in files.items()) else None
    except OSError:  # an unreadable file is written again, too
        return None
