"""Weights of a training in MLflow: the last as a logged model with its sha256, those of earlier epochs as files.

An earlier epoch that is an end of a pair by itself gets a logged model beside its file.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from lmc_repro.config.base import epoch_text
from lmc_repro.tracking import artifacts, names
from lmc_repro.training.checkpoint import verified
from lmc_repro.training.run_folder import checkpoint_name, kept_epochs

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lmc_repro.tracking.find import Reader, StoredRun, TrackedRun
    from lmc_repro.training.run_folder import RunFolder


def publish_weights(
    client: MlflowClient, run: StoredRun, status: dict[str, Any], folder: RunFolder, half_done: bool
) -> tuple[float, str]:
    """Store every checkpoint that a complete run folder keeps; return the last epoch and the id of its model.

    The model comes after the files: where it is ready, they are whole. With `half_done` that of an interrupted
    attempt is looked for first and completed.
    """
    *earlier, last = kept_epochs(status)
    shas = status["checkpoints"]
    weights = {
        epoch: verified(folder.checkpoint(epoch), shas[epoch_text(epoch)], folder.fix).content
        for epoch in (*earlier, last)
    }
    if earlier:
        files = {checkpoint_name(epoch): weights[epoch] for epoch in earlier}
        upload = partial(client.log_artifacts, run.run_id, artifact_path=artifacts.CHECKPOINTS)
        place = artifacts.place_of(run.run_id, run.artifact_uri)
        artifacts.put(f"{place}/{artifacts.CHECKPOINTS}", files, upload)
    return last, _publish_model(client, run, last, weights[last], shas[epoch_text(last)], folder.fingerprint, half_done)


def publish_earlier(
    client: MlflowClient, reader: Reader, run: TrackedRun, owner: StoredRun, epoch: float
) -> str | None:
    """Return the id of the logged model of an earlier epoch, made where there is none; None if it was not kept."""
    if epoch not in kept_epochs(run.status):
        return None
    sha256, content = run.status["checkpoints"][epoch_text(epoch)], reader.checkpoint(run, epoch).content
    return _publish_model(client, owner, epoch, content, sha256, run.fingerprint, look=True)


def _publish_model(
    client: MlflowClient, run: StoredRun, epoch: float, content: bytes, sha256: str, fingerprint: str, look: bool
) -> str:
    """Store the weights of an epoch as a logged model of a run and return its id; `look` for one that is there."""
    model = None
    if look:
        mine = client.search_logged_models([run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'")
        same = [found for found in mine if found.tags[names.SHA256] == sha256]
        model = min(same, key=lambda found: str(found.status) != "READY", default=None)
    if model is None:
        model = client.create_logged_model(
            run.experiment_id,
            name=f"{run.tags['mlflow.runName']} epoch {epoch_text(epoch).replace('.', '-')}",
            source_run_id=run.run_id,
            tags={names.SHA256: sha256, names.FINGERPRINT: fingerprint},
            params={"epoch": epoch_text(epoch)},
            model_type=names.MODEL_TYPE,
        )
    if str(model.status) != "READY":
        upload = partial(client.log_model_artifacts, model.model_id)
        place = artifacts.place_of(model.model_id, model.artifact_location)
        artifacts.put(place, {checkpoint_name(epoch): content}, upload)
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def distance(folder: RunFolder, status: dict[str, Any], last: int) -> float | None:
    """Return |theta_final - theta_init|, None if one of them was not stored, or not kept."""
    import numpy as np

    recorded = status["checkpoints"]
    if not {0, last} <= set(kept_epochs(status)):
        return None
    start, end = (verified(folder.checkpoint(e), recorded[str(e)], folder.fix).arrays() for e in (0, last))
    squares = sum(float(np.square(np.subtract(end[name], start[name], dtype=np.float64)).sum()) for name in start)
    return float(squares**0.5)
