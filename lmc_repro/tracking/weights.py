"""Weights of a training in MLflow: the last as a logged model with its sha256, those of earlier epochs as files.

An earlier epoch that is an end of a pair by itself gets a logged model beside its file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmc_repro.config.base import epoch_text
from lmc_repro.tracking import artifacts, names
from lmc_repro.training.checkpoint import Checkpoint, verified
from lmc_repro.training.run_folder import checkpoint_name, kept_epochs

if TYPE_CHECKING:
    from lmc_repro.tracking.find import Reader, StoredRun, TrackedRun
    from lmc_repro.training.run_folder import RunFolder


def kept_weights(folder: RunFolder, status: dict[str, Any]) -> dict[float, Checkpoint]:
    """Return every checkpoint that a complete run folder keeps, by epoch; LmcError that names a damaged one."""
    shas = status["checkpoints"]
    return {
        epoch: verified(folder.checkpoint(epoch), shas[epoch_text(epoch)], folder.fix) for epoch in kept_epochs(status)
    }


def publish_earlier(reader: Reader, run: TrackedRun, epoch: float) -> str | None:
    """Return the id of the logged model of an earlier epoch, made where there is none; None if it was not kept."""
    if epoch not in kept_epochs(run.status):
        return None
    sha256 = run.status["checkpoints"][epoch_text(epoch)]
    return publish_model(reader, run.owner, epoch, reader.checkpoint(run, epoch), sha256, run.fingerprint, look=True)


def publish_model(
    reader: Reader, run: StoredRun, epoch: float, weights: Checkpoint, sha256: str, fingerprint: str, look: bool
) -> str:
    """Store the weights of an epoch as a logged model of a run and return its id; `look` for one that is there."""
    client, model = reader.client, None
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
        place = artifacts.place_of(model.model_id, model.artifact_location)
        artifacts.put(place, {checkpoint_name(epoch): weights.content}, reader.uri)
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
