"""Take the wanted files, and nothing else, out of a publisher's .tar.gz."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from lmc_repro.data.remote import RemoteFile
from lmc_repro.data.whole_file import hash_of, whole_file
from lmc_repro.errors import LmcError


def unpack(archive: Path, inside: str, files: Sequence[RemoteFile], folder: Path) -> None:
    """Write each of `files`, found in the archive as inside/<name>, to folder/<name>, checked against its record.

    Only these names are written, whatever else the archive holds, and only regular files: no link, no other path.
    LmcError, naming the archive, if one is missing, is no regular file or has other content, or if the archive is
    truncated or corrupt.
    """
    wanted = {f"{inside}/{file.name}": file for file in files}
    fix = "delete it and get it again"
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                file = wanted.pop(member.name.removeprefix("./"), None)
                if file is None:
                    continue
                content = members.extractfile(member) if member.isreg() else None
                if content is None:
                    raise LmcError(f"{archive}: {member.name} is no regular file; {fix}")
                with whole_file(folder / file.name) as (out, path):
                    shutil.copyfileobj(content, out, 1 << 20)
                    out.flush()
                    if (found := hash_of(path, file.algorithm)) != file.checksum:
                        raise LmcError(
                            f"{archive}: {member.name} has {file.algorithm} {found}, expected {file.checksum}; {fix}"
                        )
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the archive
        raise LmcError(f"{archive}: truncated or no .tar.gz ({' '.join(str(error).split())}); {fix}") from None
    raise LmcError(f"{archive}: holds no {', '.join(wanted)}; {fix}")
