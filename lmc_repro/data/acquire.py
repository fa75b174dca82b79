"""Get the publisher's files, each checked by its checksum: from the raw folder, a mirror, or a download."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo, RemoteFile

Progress = Callable[[str, int, int], None]  # what, units done, units in all

TIMEOUT_S = 30.0
CHUNK = 1 << 20
AGAIN = "delete it and get it again"
PUT = "put the publisher's file into the mirror"


class Unavailable(LmcError):
    """Raised for a data set that this machine cannot get, though nothing is wrong: its cells are not run."""


def fetch(info: DatasetInfo, raw_dir: Path, mirror: Path | None, on_progress: Progress | None = None) -> Path:
    """Get the data set, and return the folder, file or archive that the reader of its format takes.

    With listed files, that is raw_dir/info.folder with each of them as recorded: there already, copied from the mirror,
    unpacked from the archive, or downloaded. Otherwise it is the folder, or the archive with its recorded checksum,
    where it lies: in raw_dir, in the mirror, or downloaded. `mirror` is a folder that holds info.folder or the archive.

    Raises:
        Unavailable: A file was found nowhere.
        LmcError: The mirror is not a folder, or a file's content differs from the publisher's.
    """
    if info.embedded:
        return raw_dir
    if mirror is not None and not mirror.is_dir():
        raise LmcError(
            f"{mirror}: the data mirror is no folder; correct or unset LMC_DATA_MIRROR or data.mirror (params.yaml)"
        )
    if info.files:
        return _fetch_files(info, raw_dir, mirror, on_progress)
    for root in filter(None, (raw_dir, mirror)):
        if (root / info.folder).exists():
            return root / info.folder
    if info.archive is None:
        raise Unavailable(
            f"{info.title} is not on this machine; put it into {raw_dir / info.folder}, or set LMC_DATA_MIRROR to a "
            f"folder that holds {info.folder}"
        )
    return _fetch_archive(info, info.archive, raw_dir, mirror, on_progress)


def check(path: Path, file: RemoteFile, fix: str, where: str = "") -> None:
    """Raise LmcError, naming `where` (default: the path), unless the file has the recorded size and checksum."""
    where, size = where or str(path), path.stat().st_size
    if file.size and size != file.size:
        raise LmcError(f"{where}: {size} bytes, expected {file.size}; {fix}")
    with path.open("rb") as content:
        # md5 where the publisher gives nothing else: a second file with a given md5 is still infeasible.
        found = hashlib.file_digest(content, lambda: hashlib.new(file.algorithm, usedforsecurity=False)).hexdigest()
    if found != file.checksum:
        raise LmcError(f"{where}: {file.algorithm} {found}, expected {file.checksum}; {fix}")


def _fetch_files(info: DatasetInfo, raw_dir: Path, mirror: Path | None, on_progress: Progress | None) -> Path:
    folder, packed = raw_dir / info.folder, []
    for file in info.files:
        target = folder / file.name
        if target.exists():
            check(target, file, AGAIN)
        elif mirror and (source := mirror / info.folder / file.name).exists():
            with source.open("rb") as content, _whole(target, file, str(source), PUT) as out:
                shutil.copyfileobj(content, out, CHUNK)
        elif info.archive is None:
            _download(info, file, target, on_progress)
        else:
            packed.append(file)
    if packed and info.archive is not None:
        _unpack(_fetch_archive(info, info.archive, raw_dir, mirror, on_progress), info.folder, packed, folder)
    return folder


def _fetch_archive(
    info: DatasetInfo, archive: RemoteFile, raw_dir: Path, mirror: Path | None, on_progress: Progress | None
) -> Path:
    """Return where the publisher's archive lies, checked; downloaded into raw_dir if it is nowhere."""
    for root, fix in ((raw_dir, AGAIN), (mirror, PUT)):
        if root and (root / archive.name).exists():
            check(root / archive.name, archive, fix)
            return root / archive.name
    _download(info, archive, raw_dir / archive.name, on_progress)
    return raw_dir / archive.name


def _download(info: DatasetInfo, file: RemoteFile, target: Path, on_progress: Progress | None) -> None:
    reason, wrong = "no address is known", None
    fix = "try again, or set LMC_DATA_MIRROR to a folder that holds the publisher's file"
    for url in file.urls:
        try:
            with _whole(target, file, url, fix) as out, urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                while chunk := response.read(CHUNK):
                    out.write(chunk)
                    if on_progress:
                        on_progress(file.name, out.tell(), file.size)
            return
        except LmcError as error:
            wrong = error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = " ".join(str(getattr(error, "reason", error)).split())
    if wrong:
        raise wrong
    holds = f"{info.folder}/ or {file.name}" if file is info.archive else f"{info.folder}/{file.name}"
    raise Unavailable(
        f"{info.title} could not be downloaded ({reason}); set LMC_DATA_MIRROR to a folder that holds {holds}"
    )


def _unpack(archive: Path, inside: str, files: list[RemoteFile], folder: Path) -> None:
    """Write each of `files`, found in a .tar.gz as inside/<name>, to folder/<name>, checked against its record.

    Writes these names only, whatever else the archive holds, and regular files only: no link, no other path.
    """
    wanted = {f"{inside}/{file.name}": file for file in files}
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                file = wanted.pop(member.name.removeprefix("./"), None)
                if file is None:
                    continue
                content = members.extractfile(member) if member.isreg() else None
                if content is None:
                    raise LmcError(f"{archive}: {member.name} is no regular file; {AGAIN}")
                with _whole(folder / file.name, file, f"{archive}: {member.name}", AGAIN) as out:
                    shutil.copyfileobj(content, out, CHUNK)
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a fault of the disk, not of the archive
        raise LmcError(f"{archive}: truncated or no .tar.gz ({' '.join(str(error).split())}); {AGAIN}") from None
    raise LmcError(f"{archive}: holds no {', '.join(wanted)}; {AGAIN}")


@contextmanager
def _whole(target: Path, file: RemoteFile, where: str, fix: str) -> Iterator[BinaryIO]:
    """Yield a temporary file beside `target` that takes its name once its content is as recorded; see `check`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
        check(path, file, fix, where)
        path.chmod(0o644)  # mkstemp makes it private
        os.replace(path, target)
    finally:
        path.unlink(missing_ok=True)
