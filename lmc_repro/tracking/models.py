"""Checkpoints in MLflow: the last as a logged model with its sha256, those of earlier marks as files of the run.

A logged model costs MLflow ten times what a file does, and a list of models is of use if it holds networks, not marks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from lmc_repro.errors import LmcError
from lmc_repro.schemas.base import mark_text
from lmc_repro.tracking import artifacts, names
from lmc_repro.tracking.failures import REBUILD
from lmc_repro.training.checkpoint import Checkpoint, verified
from lmc_repro.training.run_folder import checkpoint_name, kept_marks

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from lmc_repro.tracking.store import Store
    from lmc_repro.tracking.stored_run import StoredRun
    from lmc_repro.tracking.tracked import TrackedRun
    from lmc_repro.training.run_folder import RunFolder


FOLDER = "checkpoints"  # of a run's artifacts


def publish(
    store: Store, run: StoredRun, status: dict[str, Any], folder: RunFolder, half_done: bool
) -> tuple[float, str]:
    """Store every checkpoint that a complete run folder keeps; return the last mark and the id of its logged model.

    The model comes after the files: where it is ready, they are whole. With `half_done` that of an interrupted attempt
    is looked for first and completed.
    """
    client = store.client
    *earlier, last = kept_marks(status)
    shas = status["checkpoints"]
    contents = {
        mark: verified(folder.checkpoint(mark), shas[mark_text(mark)], folder.fix).content for mark in (*earlier, last)
    }
    if earlier:
        files = {checkpoint_name(mark): contents[mark] for mark in earlier}
        upload = partial(client.log_artifacts, run.run_id, artifact_path=FOLDER)
        artifacts.put(f"{artifacts.place_of(run.run_id, run.artifact_uri)}/{FOLDER}", files, upload)
    sha256 = shas[mark_text(last)]
    known = _known(client, run, sha256) if half_done else None
    model = known or client.create_logged_model(
        run.experiment_id,
        name=f"{run.tags['mlflow.runName']} epoch {mark_text(last)}",
        source_run_id=run.run_id,
        tags={names.SHA256: sha256, names.FINGERPRINT: folder.fingerprint},
        params={"epoch": mark_text(last)},
        model_type=names.MODEL_TYPE,
    )
    if str(model.status) != "READY":
        upload = partial(client.log_model_artifacts, model.model_id)
        place = artifacts.place_of(model.model_id, model.artifact_location)
        artifacts.put(place, {checkpoint_name(last): contents[last]}, upload)
        client.finalize_logged_model(model.model_id, "READY")
    return last, model.model_id


class Source(Protocol):
    """A store that weights are read from."""

    @property
    def uri(self) -> str: ...

    @property
    def client(self) -> MlflowClient: ...


def load(store: Source, run: TrackedRun, epoch: float) -> Checkpoint:
    """Return the weights that MLflow holds of a run at a mark, checked against the recorded sha256."""
    sha256 = run.status["checkpoints"].get(mark_text(epoch))
    if sha256 is not None and epoch not in kept_marks(run.status):
        raise LmcError(
            f"{store.uri}: run {run.run_id} ({run.fingerprint}) was published without the weights of epoch "
            f"{mark_text(epoch)}; run it with --keep all and publish it again"
        )
    if sha256 is None or not run.models:
        raise LmcError(
            f"{store.uri}: run {run.run_id} ({run.fingerprint}) has no checkpoint of epoch {epoch}; {REBUILD}"
        )
    with artifacts.scratch(run.location) as scratch:
        return verified(_find_file(store, run, epoch, scratch), sha256, REBUILD)


def read_stored(store: Source, run: TrackedRun, mark: float) -> tuple[Path, bytes]:
    """Return the file of a mark's weights and its bytes, not compared with anything; LmcError if it is not there."""
    with artifacts.scratch(run.location) as scratch:
        path = _find_file(store, run, mark, scratch)
        try:
            return path, path.read_bytes()
        except OSError as error:
            raise LmcError(f"{path}: cannot be read ({error.strerror}); {REBUILD}") from None


def _find_file(store: Source, run: TrackedRun, epoch: float, scratch: Path) -> Path:
    """Return where the weights lie: where MLflow keeps them today, or where it says; asking costs more than reading."""
    from mlflow.exceptions import MlflowException

    name = checkpoint_name(epoch)
    if (model_id := run.models.get(epoch)) is None:
        return artifacts.get(f"{run.artifact_uri}/{FOLDER}", name, store.uri, scratch)
    path = artifacts.get(f"{run.location}/models/{model_id}/artifacts", name, store.uri, scratch)
    if path.is_file():
        return path
    try:
        location = store.client.get_logged_model(model_id).artifact_location
    except MlflowException:
        return path
    return artifacts.get(location, name, store.uri, scratch)


def _known(client: MlflowClient, run: StoredRun, sha256: str) -> LoggedModel | None:
    """Return the logged model with this sha256 that came from this run, a ready one in preference."""
    found = client.search_logged_models([run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'")
    same = [model for model in found if model.tags[names.SHA256] == sha256]
    return next((model for model in same if str(model.status) == "READY"), same[0] if same else None)
