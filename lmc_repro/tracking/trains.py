"""The run of a training: its curves while it trains, its checkpoints when it is complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lmc_repro.files import read_json
from lmc_repro.schemas.base import parse_mark
from lmc_repro.tracking import artifacts, models, names
from lmc_repro.tracking.cells import cell_run
from lmc_repro.tracking.failures import REBUILD
from lmc_repro.tracking.points import Point, finite, history, log, text
from lmc_repro.tracking.processes import this_process
from lmc_repro.tracking.tracked import TrackedRun
from lmc_repro.training.run_folder import kept_marks

if TYPE_CHECKING:
    from lmc_repro.schemas.plan import Cell
    from lmc_repro.schemas.run import RunConfig
    from lmc_repro.tracking.context import Context
    from lmc_repro.tracking.stored_run import StoredRun
    from lmc_repro.training.run_folder import MetricRow, RunFolder

METRICS = ("train/error", "train/loss", "test/error", "test/loss", "train/batch_loss")
DISTANCE = "weights/distance_from_init"


def sync_train(context: Context, cell: Cell, config: RunConfig, folder: RunFolder) -> str:
    """Bring the run of a training up to what its folder holds, and return its id."""
    cell_id = context.cell_id(cell)
    status = folder.status() if folder.is_complete() else None
    with context.store.lock:
        parent = cell_run(context, cell)
        run = context.index.get("train", cell_id, folder.fingerprint)
        if run is None or not run.finished:
            run = context.index.look_up("train", cell_id, folder.fingerprint)
        if run is not None and not run.finished:
            _take_over(context, run)
        if run is not None:
            context.adopt(run, parent)
        if run is not None and run.finished and (status is None or _holds_all(context, run, status)):
            return run.run_id
        half_done = run is not None
        if run is None:
            original = context.index.original(folder.fingerprint) if status else None
            tags = {names.PARENT: parent.run_id, names.FINGERPRINT: folder.fingerprint, **_tags(status)}
            if original is not None:
                tags |= context.reuse(original)
            run = context.create("train", cell, names.train_name(cell, config.seeds), tags)
        else:
            run = context.refresh(run) if status else run
        _log_rows(context, cell, run, config, folder, status)
        if status is None:
            if run.status != "RUNNING":
                context.store.client.update_run(run.run_id, status="RUNNING")
                run.status = "RUNNING"
            return run.run_id
        _complete(context, cell, run, folder, status, half_done)
        context.written.add(run.run_id)
        return context.finish(run)


def _take_over(context: Context, run: StoredRun) -> None:
    """Make a run ours that another process has begun, or gone on with; what that one logged is asked for again."""
    if run.tags.get(names.PROCESS) != (here := this_process()):
        context.store.client.set_tag(run.run_id, names.PROCESS, here)
        run.tags[names.PROCESS] = here
        context.logged.pop(run.run_id, None)


def mark_killed(context: Context) -> None:
    """Mark the trainings that this process logged to, and that still count as running, as killed."""
    for run in context.index.running("train"):
        if run.run_id in context.logged:
            context.store.client.set_terminated(run.run_id, "KILLED")
            run.status = "KILLED"


def tracked_runs(context: Context, cell: Cell, fingerprints: Sequence[str]) -> dict[str, TrackedRun]:
    """Return the finished trainings of a cell that the store holds, by fingerprint."""
    found = {}
    for fingerprint in fingerprints:
        run = context.index.look_up("train", context.cell_id(cell), fingerprint)
        if run is None or not run.finished:
            continue
        owner = context.owner(run)
        with artifacts.scratch(run.artifact_uri) as folder:
            status = read_json(artifacts.get(run.artifact_uri, "status.json", context.store.uri, folder), REBUILD)
        found[fingerprint] = TrackedRun(
            run_id=run.run_id,
            fingerprint=fingerprint,
            params=run.params,
            tags=run.tags,
            status=status,
            models=owner.models if owner else {},
            artifact_uri=(owner or run).artifact_uri,
            location=context.location(owner or run),
        )
    return found


def _holds_all(context: Context, run: StoredRun, status: dict[str, Any]) -> bool:
    """Whether the last checkpoint is a logged model of the run, or of the one it was reused from: it was put last.

    A run that came without its weights has none to hold, until they come.
    """
    if names.WEIGHTS in run.tags and "kept" not in status:
        return False
    owner, last = context.owner(run), max(map(parse_mark, status["checkpoints"]))
    return owner is not None and (last in owner.models or last not in kept_marks(status))


def _complete(
    context: Context, cell: Cell, run: StoredRun, folder: RunFolder, status: dict[str, Any], half_done: bool
) -> None:
    """Publish what only a complete folder has. Each step can be repeated, so that a crash in between does no harm."""
    from mlflow.entities import DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput

    client = context.store.client
    files = {name: (folder.path / name).read_bytes() for name in ("config.json", "metrics.csv", "status.json")}
    artifacts.put(artifacts.place_of(run.run_id, run.artifact_uri), files, partial(client.log_artifacts, run.run_id))
    owner = context.owner(run)
    if owner is None or not _holds_all(context, run, status):
        last, model = models.publish(context.store, run, status, folder, half_done)
        if last not in run.models:
            client.log_outputs(run.run_id, [LoggedModelOutput(model, int(last))])
            run.models[last] = model
        if run.tags.pop(names.REUSED_FROM, None):
            client.delete_tag(run.run_id, names.REUSED_FROM)
        owner = run
    if names.WEIGHTS in run.tags and names.WEIGHTS not in _tags(status):
        client.delete_tag(run.run_id, names.WEIGHTS)
    inputs = [] if owner is run else [model for model in owner.models.values() if model not in run.inputs]
    data = DatasetInput(_dataset(context, cell), [InputTag("mlflow.data.context", "training")])
    client.log_inputs(run.run_id, datasets=[data], models=[LoggedModelInput(model) for model in inputs])


def _dataset(context: Context, cell: Cell) -> Any:
    """Return the data set's name and digest, without its arrays."""
    from mlflow.entities import Dataset

    name = cell.config["data"]["dataset"]
    source = json.dumps({"uri": (context.project.prepared / name).as_uri()})
    return Dataset(name=name, digest=context.digest(cell)[:36], source_type="local", source=source)


def _log_rows(
    context: Context, cell: Cell, run: StoredRun, config: RunConfig, folder: RunFolder, status: dict[str, Any] | None
) -> None:
    """Log the parameters, tags and points that the store has not: its history only grows."""
    client = context.store.client
    logged = context.logged.get(run.run_id)
    if logged is None:
        logged = set(history(client, run.run_id, [name for name in (*METRICS, DISTANCE) if name in run.metrics]))
    points = training_points(folder.metrics())
    if status and (DISTANCE, config.epochs) not in logged:
        points += finite([(DISTANCE, _distance(folder, status, config.epochs), config.epochs)])
    points = [point for point in points if (point.name, point.step) not in logged]
    params = {} if run.params else context.params(cell, config)
    tags = {name: value for name, value in _tags(status).items() if run.tags.get(name) != value}
    if points or params or tags:
        log(client, run.run_id, points, params, tags)
    context.logged[run.run_id] = logged | {(point.name, point.step) for point in points}
    run.params.update({name: text(value) for name, value in params.items()})
    run.tags.update(tags)


def training_points(rows: Sequence[MetricRow]) -> list[Point]:
    """Return the points of metrics.csv: errors in percentage points, losses in nats, step = epoch (whole)."""
    values: list[tuple[str, float | None, float]] = []
    for row in rows:
        if row.split == "batch":
            values.append(("train/batch_loss", row.loss, row.epoch))
        else:
            values.append((f"{row.split}/error", None if row.wrong is None else row.wrong * (100.0 / row.n), row.epoch))
            values.append((f"{row.split}/loss", row.loss, row.epoch))
    return finite(values)


def _tags(status: dict[str, Any] | None) -> dict[str, str]:
    """Return what is known of a training when it is complete."""
    if status is None:
        return {}
    told = {
        "lmc.diverged_epoch": status["diverged_epoch"],
        "lmc.init_sha256": status["init_sha256"],
        "lmc.order_sha256": status["order_sha256"],
        "lmc.augmentation_sha256": status.get("augmentation_sha256"),
        "lmc.final_sha256": status["final_sha256"],
        "lmc.training_numerics": status["training_numerics"],
        "lmc.numerics": status["numerics"],
        "lmc.stack": " ".join(map(str, status["stack"])) if "stack" in status else None,
        "lmc.version.torch": status["torch"],
        names.WEIGHTS: None,
    }
    if "kept" in status:
        told[names.WEIGHTS] = names.LAST_KEPT if status["kept"] else names.NOT_KEPT
    return {name: str(value) for name, value in told.items() if value is not None}


def _distance(folder: RunFolder, status: dict[str, Any], last: int) -> float | None:
    """Return |theta_final - theta_init|, None if one of them was not stored, or not kept."""
    import numpy as np

    from lmc_repro.training.checkpoint import verified

    recorded = status["checkpoints"]
    if not {0, last} <= set(kept_marks(status)):
        return None
    start, end = (verified(folder.checkpoint(e), recorded[str(e)], folder.fix).arrays() for e in (0, last))
    squares = sum(float(np.square(np.subtract(end[name], start[name], dtype=np.float64)).sum()) for name in start)
    return float(squares**0.5)
