"""Checkpoints as MLflow's logged models: one per run and stored epoch, its sha256 beside it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes
from lmc_repro.tracking import artifacts, names
from lmc_repro.tracking.failures import REBUILD

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from torch import Tensor

    from lmc_repro.tracking.index import StoredRun
    from lmc_repro.tracking.store import Store
    from lmc_repro.tracking.tracked import TrackedRun
    from lmc_repro.training.run_folder import RunFolder


def file_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}.safetensors"


def read_verified(folder: RunFolder, epoch: int, sha256: str) -> bytes:
    """Return the bytes of a run folder's checkpoint; LmcError that names it if they are not the recorded ones."""
    path = folder.checkpoint(epoch)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror}); {folder.fix}") from None
    if (found := sha256_bytes(content)) != sha256:
        raise LmcError(f"{path}: damaged: its sha256 is {found[:12]}, recorded {sha256[:12]}; {folder.fix}")
    return content


def publish(store: Store, run: StoredRun, status: dict[str, Any], folder: RunFolder, half_done: bool) -> dict[int, str]:
    """Make every checkpoint of a complete run folder a logged model and return their ids by epoch.

    With `half_done` those of an interrupted attempt are looked for first and completed.
    """
    client = store.client
    known = _known(client, run) if half_done else {}
    found: dict[int, str] = {}
    for key, sha256 in status["checkpoints"].items():
        epoch = int(key)
        content = read_verified(folder, epoch, sha256)
        model = known.get((epoch, sha256)) or client.create_logged_model(
            run.experiment_id,
            name=f"{run.tags['mlflow.runName']} epoch {epoch}",
            source_run_id=run.run_id,
            tags={names.SHA256: sha256, names.FINGERPRINT: folder.fingerprint},
            params={"epoch": key},
            model_type=names.MODEL_TYPE,
        )
        if str(model.status) != "READY":
            upload = partial(client.log_model_artifacts, model.model_id)
            artifacts.put(model.artifact_location, {file_name(epoch): content}, upload)
            client.finalize_logged_model(model.model_id, "READY")
        found[epoch] = model.model_id
    return found


class Source(Protocol):
    """A store that weights are read from."""

    @property
    def uri(self) -> str: ...

    @property
    def client(self) -> MlflowClient: ...


def load(store: Source, run: TrackedRun, epoch: int) -> dict[str, Tensor]:
    """Return the weights that MLflow holds of a run at an epoch, checked against the recorded sha256."""
    from lmc_repro.training.checkpoint import read_checkpoint

    try:
        sha256, model_id = run.status["checkpoints"][str(epoch)], run.models[epoch]
    except KeyError:
        raise LmcError(
            f"{store.uri}: run {run.run_id} ({run.fingerprint}) has no checkpoint of epoch {epoch}; {REBUILD}"
        ) from None
    with artifacts.scratch(run.location) as scratch:
        return read_checkpoint(_find_file(store, run, epoch, model_id, scratch), sha256, REBUILD)


def _find_file(store: Source, run: TrackedRun, epoch: int, model_id: str, scratch: Path) -> Path:
    """Return where the weights lie: where MLflow keeps them today, or where it says; asking costs more than reading."""
    from mlflow.exceptions import MlflowException

    path = artifacts.get(f"{run.location}/models/{model_id}/artifacts", file_name(epoch), store.uri, scratch)
    if path.is_file():
        return path
    try:
        location = store.client.get_logged_model(model_id).artifact_location
    except MlflowException:
        return path
    return artifacts.get(location, file_name(epoch), store.uri, scratch)


def _known(client: MlflowClient, run: StoredRun) -> dict[tuple[int, str], LoggedModel]:
    """Return the logged models that came from this run, by epoch and sha256, ready ones in preference."""
    found: dict[tuple[int, str], LoggedModel] = {}
    token: str | None = None
    while True:
        page = client.search_logged_models(
            [run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'", page_token=token
        )
        for model in page:
            key = (int(model.params["epoch"]), model.tags[names.SHA256])
            if key not in found or str(model.status) == "READY":
                found[key] = model
        if not (token := page.token):
            return found
