"""Get the publisher's files, each checked by size and sha256: what is there, then a mirror, then a download."""

from __future__ import annotations

import http.client
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lmc_repro.data.catalog import DatasetInfo, RemoteFile
from lmc_repro.data.status import sha256_of
from lmc_repro.errors import LmcError

Progress = Callable[[str, int, int], None]  # file name, bytes done, bytes in all

TIMEOUT_S = 30.0
CHUNK = 1 << 20


class Unavailable(LmcError):
    """A data set that cannot be had on this machine, through no mistake in it: cells that need it are not run."""


def fetch(info: DatasetInfo, raw_dir: Path, mirror: Path | None, on_progress: Progress | None = None) -> None:
    """Make every file of `info` lie in raw_dir/info.folder with its recorded size and sha256.

    `mirror` is a folder that holds info.folder; a file that it lacks is downloaded. LmcError if the mirror is not a
    folder, or if a file (there, in the mirror or as downloaded) has other content; Unavailable if a file is nowhere.
    """
    if not info.files:
        return
    if mirror is not None and not mirror.is_dir():
        raise LmcError(
            f"{mirror}: this data mirror is no folder; mend LMC_DATA_MIRROR or data.mirror in params.yaml, or unset it"
        )
    folder = raw_dir / info.folder
    for file in info.files:
        target = folder / file.name
        if target.exists():
            check(target, file, "delete it and get it again")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        source = mirror / info.folder / file.name if mirror else None
        if source is not None and source.exists():
            _copy(source, target, file)
        else:
            _download(info, file, target, on_progress)


def check(path: Path, file: RemoteFile, fix: str) -> None:
    """Raise an LmcError, naming `path` and ending in `fix`, unless it has the size and sha256 of `file`."""
    size = path.stat().st_size
    if size != file.size:
        raise LmcError(f"{path}: {size} bytes, expected {file.size}; {fix}")
    found = sha256_of(path)
    if found != file.sha256:
        raise LmcError(f"{path}: sha256 {found}, expected {file.sha256}; {fix}")


def _copy(source: Path, target: Path, file: RemoteFile) -> None:
    check(source, file, "put the publisher's file into the mirror")
    with _whole_file(target) as (out, path), source.open("rb") as content:
        shutil.copyfileobj(content, out, CHUNK)
        out.flush()
        check(path, file, "copying failed: try again")  # the mirror may have changed since the first check


def _download(info: DatasetInfo, file: RemoteFile, target: Path, on_progress: Progress | None) -> None:
    failures: list[str] = []
    wrong: LmcError | None = None
    for url in file.urls:
        try:
            with _whole_file(target) as (out, path):
                with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                    done = 0
                    while chunk := response.read(CHUNK):
                        out.write(chunk)
                        done += len(chunk)
                        if on_progress:
                            on_progress(file.name, done, file.size)
                out.flush()
                _check_download(path, file, url)
            return
        except LmcError as error:
            wrong = error
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(" ".join(str(getattr(error, "reason", error)).split()))
    if wrong:
        raise wrong
    detail = failures[-1] if failures else "no address is known"
    raise Unavailable(
        f"{info.title} could not be downloaded ({detail}); set LMC_DATA_MIRROR to a folder that holds "
        f"{info.folder}/{file.name}"
    )


def _check_download(path: Path, file: RemoteFile, url: str) -> None:
    size, found = path.stat().st_size, sha256_of(path)
    if (size, found) != (file.size, file.sha256):
        raise LmcError(
            f"{url}: sent {size} bytes with sha256 {found[:12]}, expected {file.size} bytes with {file.sha256[:12]}; "
            "try again, or set LMC_DATA_MIRROR to a folder that holds the publisher's file"
        )


@contextmanager
def _whole_file(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Write to a temporary file beside `target` that takes its name only if the block ends well."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out, path
        path.chmod(0o644)  # mkstemp makes it private
        os.replace(path, target)
    finally:
        path.unlink(missing_ok=True)
