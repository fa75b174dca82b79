"""Artifacts: read and written directly where the store is on this machine, through MLflow elsewhere.

Through MLflow each file is a request: there the files of a training are one archive.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lmc_repro.common.errors import LmcError
from lmc_repro.tracking.store import REBUILD

CHECKPOINTS = "checkpoints"
"""The folder of a run's earlier weights among its artifacts: a logged model costs ten times as much as a file."""

FILES = ("config.json", "metrics.csv", "status.json")
"""A training's other files among its artifacts."""

ARCHIVE = "run.zip"
"""The file with all of these, uncompressed, where artifacts are not files of this machine."""

_EARLIER = f"{CHECKPOINTS}/earlier.zip"
"""The same of an earlier version, of the weights alone: the others lie beside the folder."""


def local_path(uri: str) -> Path | None:
    """Return the folder of an artifact address, or None if it is not on this machine's file system."""
    parts = urlsplit(uri)
    if parts.scheme != "file" and not uri.startswith("/"):
        return None
    path = Path(unquote(parts.path) if parts.scheme == "file" else uri)
    if ".." in path.parts:
        raise LmcError(f"{uri}: an artifact address that leads elsewhere; {REBUILD}")
    return path


def place_of(run_id: str, uri: str) -> str:
    """Return the address for writing a run's artifacts; LmcError if it is not a folder of that run's.

    The store may be untrusted, and it names the place that we write to.
    """
    if f"/{run_id}/" not in uri:
        raise LmcError(f"run {run_id}: its artifact address is {uri}, not a folder of its own; {REBUILD}")
    return uri


def put(uri: str, files: Mapping[str, bytes], tracking_uri: str, packed: bool = False) -> None:
    """Store files, by name, at an artifact address; `packed`: as one archive, unless it is a folder of this machine."""
    if folder := local_path(uri):
        _write(folder, files)
        return
    # Not the client's log_artifacts, which asks for the run that was just made.
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as temporary:
        if packed:
            with zipfile.ZipFile(Path(temporary, ARCHIVE), "w") as archive:
                for name, content in files.items():
                    archive.writestr(zipfile.ZipInfo(name), content)  # dateless: equal files, equal bytes
        else:
            _write(Path(temporary), files)
        repository: Any = get_artifact_repository(uri, tracking_uri)  # without types
        repository.log_artifacts(temporary)


def archives_of(uri: str, name: str) -> dict[str, str]:
    """Return the archives that may hold a file of an artifact address, and the file's name in each."""
    folder, _, own = name.rpartition("/")
    if local_path(uri) or not (folder == CHECKPOINTS or name in FILES):
        return {}
    return {ARCHIVE: name} | ({_EARLIER: own} if folder else {})


def unpacked(uri: str, archive: str, tracking_uri: str) -> dict[str, bytes]:
    """Return the files of an archive at an artifact address, {} if it is not there.

    Raises:
        LmcError: It is none that `put` wrote.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Any = get_artifact_repository(uri, tracking_uri)  # without types
    with suppress(MlflowException, OSError):  # asked first: a server on S3 would have the client try again and again
        if archive not in {file.path for file in repository.list_artifacts(archive.rpartition("/")[0] or None)}:
            return {}
    with fetched(uri, archive, tracking_uri) as path:
        if not path.is_file():
            return {}
        try:
            with zipfile.ZipFile(path) as packed:
                entries = packed.infolist()
                # An uncompressed entry that is larger than its archive would fill the memory.
                if any(entry.compress_type or entry.file_size > path.stat().st_size for entry in entries):
                    raise zipfile.BadZipFile("it is compressed")
                return {entry.filename: packed.read(entry) for entry in entries}
        except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
            raise LmcError(f"{uri}/{archive}: damaged: {error}; {REBUILD}") from None


@contextmanager
def fetched(uri: str, name: str, tracking_uri: str) -> Iterator[Path]:
    """Give the path of one file of an artifact address, fetched if it is not local.

    The file may be missing: its reader reports that.
    """
    if folder := local_path(uri):
        yield folder / name
        return
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with _place(uri, name) as path:
        with suppress(MlflowException, OSError):
            download_artifacts(artifact_uri=f"{uri}/{name}", dst_path=str(path.parent), tracking_uri=tracking_uri)
        yield path


@contextmanager
def as_file(uri: str, name: str, content: bytes) -> Iterator[Path]:
    """Give the path of a file with the content of one that was fetched from an artifact address."""
    with _place(uri, name) as path:
        path.write_bytes(content)
        yield path


@contextmanager
def _place(uri: str, name: str) -> Iterator[Path]:
    """Give the path of a temporary file in a folder that has the id of an address's run or model, for messages."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, uri.rstrip("/").split("/")[-2])
        folder.mkdir()
        yield folder / Path(name).name


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
