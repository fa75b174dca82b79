"""Get the publisher's files, each checked by its checksum: what is there, then a mirror, then a download."""

from __future__ import annotations

import http.client
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

from lmc_repro.data.archive import unpack
from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.remote import RemoteFile
from lmc_repro.data.whole_file import check, hash_of, whole_file
from lmc_repro.errors import LmcError

Progress = Callable[[str, int, int], None]  # what, units done, units in all

TIMEOUT_S = 30.0
CHUNK = 1 << 20


class Unavailable(LmcError):
    """A data set that cannot be had on this machine, through no mistake in it: cells that need it are not run."""


def fetch(info: DatasetInfo, raw_dir: Path, mirror: Path | None, on_progress: Progress | None = None) -> Path:
    """Get the data set, and return the folder, file or archive that the reader of its format takes.

    With listed files, that is raw_dir/info.folder with each of them as recorded, copied from the mirror, downloaded,
    or unpacked from the archive. Else it is the folder, or the archive with its recorded checksum, where it lies: in
    raw_dir, in the mirror, or downloaded. `mirror` is a folder that holds info.folder or the archive. LmcError if the
    mirror is not a folder, or a file has other content; Unavailable if a file is nowhere.
    """
    if info.embedded:
        return raw_dir
    if mirror is not None and not mirror.is_dir():
        raise LmcError(
            f"{mirror}: this data mirror is no folder; mend LMC_DATA_MIRROR or data.mirror in params.yaml, or unset it"
        )
    if info.files:
        return _fetch_files(info, raw_dir, mirror, on_progress)
    for root in [raw_dir, *([mirror] if mirror else [])]:
        if (root / info.folder).exists():
            return root / info.folder
    if info.archive is None:
        raise Unavailable(
            f"{info.title} is not on this machine; put it into {raw_dir / info.folder}, or set LMC_DATA_MIRROR to a "
            f"folder that holds {info.folder}"
        )
    return _archive(info, info.archive, raw_dir, mirror, on_progress)


def _fetch_files(info: DatasetInfo, raw_dir: Path, mirror: Path | None, on_progress: Progress | None) -> Path:
    folder = raw_dir / info.folder
    packed = []
    for file in info.files:
        target = folder / file.name
        if target.exists():
            check(target, file, "delete it and get it again")
            continue
        source = mirror / info.folder / file.name if mirror else None
        if source is not None and source.exists():
            _copy(source, target, file)
        elif info.archive is None:
            _download(info, file, target, on_progress)
        else:
            packed.append(file)
    if packed and info.archive is not None:
        unpack(_archive(info, info.archive, raw_dir, mirror, on_progress), info.folder, packed, folder)
    return folder


def _archive(
    info: DatasetInfo, archive: RemoteFile, raw_dir: Path, mirror: Path | None, on_progress: Progress | None
) -> Path:
    """Return where the publisher's archive lies, checked; downloaded into raw_dir if it is nowhere."""
    path = raw_dir / archive.name
    if path.exists():
        check(path, archive, "delete it and get it again")
        return path
    if mirror is not None and (mirror / archive.name).exists():
        check(mirror / archive.name, archive, "put the publisher's file into the mirror")
        return mirror / archive.name
    _download(info, archive, path, on_progress)
    return path


def _copy(source: Path, target: Path, file: RemoteFile) -> None:
    check(source, file, "put the publisher's file into the mirror")
    with whole_file(target) as (out, path), source.open("rb") as content:
        shutil.copyfileobj(content, out, CHUNK)
        out.flush()
        check(path, file, "copying failed: try again")  # the mirror may have changed since the first check


def _download(info: DatasetInfo, file: RemoteFile, target: Path, on_progress: Progress | None) -> None:
    failures: list[str] = []
    wrong: LmcError | None = None
    for url in file.urls:
        try:
            with whole_file(target) as (out, path):
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
    holds = f"{info.folder}/ or {file.name}" if file is info.archive else f"{info.folder}/{file.name}"
    raise Unavailable(
        f"{info.title} could not be downloaded ({detail}); set LMC_DATA_MIRROR to a folder that holds {holds}"
    )


def _check_download(path: Path, file: RemoteFile, url: str) -> None:
    size, found = path.stat().st_size, hash_of(path, file.algorithm)
    if found != file.checksum:
        expected = f"{file.size} bytes with " if file.size else ""
        raise LmcError(
            f"{url}: sent {size} bytes with {file.algorithm} {found[:12]}, expected {expected}{file.checksum[:12]}; "
            "try again, or set LMC_DATA_MIRROR to a folder that holds the publisher's file"
        )
