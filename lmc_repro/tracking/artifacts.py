"""Artifacts: read and written directly where the store is on this machine, through the server elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lmc_repro.common.errors import LmcError
from lmc_repro.tracking.store import REBUILD

CHECKPOINTS = "checkpoints"
"""The folder of a run's earlier weights among its artifacts: a logged model costs ten times as much as a file."""


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


def put(uri: str, files: Mapping[str, bytes], upload: Callable[[str], None]) -> None:
    """Store files, by name, at an artifact address; `upload` is the client's call that takes a folder."""
    if folder := local_path(uri):
        _write(folder, files)
        return
    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(temporary), files)
        upload(temporary)


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

    with tempfile.TemporaryDirectory() as temporary:
        owner = Path(temporary, uri.rstrip("/").split("/")[-2])  # the run's or model's id, for messages
        owner.mkdir()
        with suppress(MlflowException, OSError):
            download_artifacts(artifact_uri=f"{uri}/{name}", dst_path=str(owner), tracking_uri=tracking_uri)
        yield owner / name


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
