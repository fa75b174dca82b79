"""Artifacts: read and written directly where the store is on this machine, through MLflow elsewhere.

Through MLflow each file is a request: there the weights of earlier evaluation epochs are one archive.
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

EARLIER = "earlier.zip"
"""The file of that folder with all of them, uncompressed, where artifacts are not files of this machine."""


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


def put(uri: str, files: Mapping[str, bytes], tracking_uri: str, earlier: Mapping[str, bytes] | None = None) -> None:
    """Store files, by name, at an artifact address; `earlier`: weights of earlier evaluation epochs."""
    weights = earlier or {}
    if folder := local_path(uri):
        _write(folder, files)
        _write(folder / CHECKPOINTS, weights)
        return
    # Not the client's log_artifacts, which asks for the run that was just made.
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(temporary), files)
        if weights:
            Path(temporary, CHECKPOINTS).mkdir()
            with zipfile.ZipFile(Path(temporary, CHECKPOINTS, EARLIER), "w") as archive:
                for name, content in weights.items():
                    archive.writestr(zipfile.ZipInfo(name), content)  # dateless: equal weights, equal bytes
        repository: Any = get_artifact_repository(uri, tracking_uri)  # without types
        repository.log_artifacts(temporary)


def unpacked(archive: Path, place: str) -> dict[str, bytes]:
    """Return the files of an archive of `EARLIER`; LmcError naming its `place` if it is none that `put` wrote."""
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            # An uncompressed entry that is larger than its archive would fill the memory.
            if any(entry.compress_type or entry.file_size > archive.stat().st_size for entry in entries):
                raise zipfile.BadZipFile("it is compressed")
            return {entry.filename: packed.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise LmcError(f"{place}: damaged: {error}; {REBUILD}") from None


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

    with _folder(uri) as folder:
        with suppress(MlflowException, OSError):
            download_artifacts(artifact_uri=f"{uri}/{name}", dst_path=str(folder), tracking_uri=tracking_uri)
        yield folder / name


@contextmanager
def as_file(uri: str, name: str, content: bytes) -> Iterator[Path]:
    """Give the path of a file with the content of one that was fetched from an artifact address."""
    with _folder(uri) as folder:
        (folder / name).write_bytes(content)
        yield folder / name


@contextmanager
def _folder(uri: str) -> Iterator[Path]:
    """Give a temporary folder that has the id of an address's run or model as its name, for messages."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, uri.rstrip("/").split("/")[-2])
        folder.mkdir()
        yield folder


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    if files:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
