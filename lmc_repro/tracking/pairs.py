"""The run of a pair: its path on an alpha axis, its barriers, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.barrier import Barriers, excess
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.files import sha256_bytes
from lmc_repro.schemas.base import canonical_json
from lmc_repro.tracking import artifacts, names
from lmc_repro.tracking.cells import cell_run
from lmc_repro.tracking.points import Point, finite, log

if TYPE_CHECKING:
    from lmc_repro.barriers.results import MarkResult, PairResult
    from lmc_repro.schemas.plan import Cell
    from lmc_repro.tracking.context import Context

SUFFIXES = {
    "barrier": "",
    "normalised": "_norm_pct",
    "normalised_own": "_norm_own_pct",
    "normalised_chance": "_norm_chance_pct",
    "midpoint_excess": "_mid_signed",
    "loss_barrier": "_loss",
    "loss_midpoint_excess": "_loss_mid_signed",
}
"""Ends of metric names that are not `_` and the field's name."""

TABLE = "path.json"
OVER_TRAINING = "over_training.json"


def log_pair(
    context: Context, cell: Cell, pair_key: str, result: PairResult, figures: Callable[[], Mapping[str, bytes]]
) -> str:
    """Log a pair once, as a finished run; one that says something else, or that was cut off, is replaced by it.

    The old run goes to MLflow's trash: neither points nor parameters can be taken back. `figures` is called only if
    the run is made.
    """
    from mlflow.entities import LoggedModelInput

    points = list(pair_points(result))
    models = _endpoints(context, cell, result)
    tags = {names.PAIR_KEY: pair_key, **_tags(result)}
    if len(models) < 2:
        tags[names.WEIGHTS] = names.NOT_KEPT
    tables = _tables(result)
    content = {"points": sorted((p.name, p.step, p.value) for p in points), "tags": tags}
    if OVER_TRAINING in tables:  # says what the points cannot
        content["over_training"] = tables[OVER_TRAINING].decode()
    tags[names.CONTENT] = sha256_bytes(canonical_json(content).encode())
    client, cell_id = context.store.client, context.cell_id(cell)
    with context.store.lock:
        parent = cell_run(context, cell)
        run = context.index.look_up("pair", cell_id, pair_key)
        if run is not None and run.finished and run.tags.get(names.CONTENT) == tags[names.CONTENT]:
            context.adopt(run, parent)
            return run.run_id
        if run is not None:
            client.delete_run(run.run_id)
            context.index.forget("pair", cell_id, pair_key)
        tags |= {
            names.PARENT: parent.run_id,
            names.ARTIFACT_VIEWS: json.dumps([{"path": name, "type": "table"} for name in tables]),
        }
        run = context.create("pair", cell, names.pair_name(cell, result.pair), tags)
        log(client, run.run_id, points, _params(context, cell, result), {})
        files = {**tables, **figures()}
        place = artifacts.place_of(run.run_id, run.artifact_uri)
        artifacts.put(place, files, partial(client.log_artifacts, run.run_id))
        if models:
            client.log_inputs(run.run_id, models=[LoggedModelInput(model) for model in models])
        return context.finish(run)


def _endpoints(context: Context, cell: Cell, result: PairResult) -> list[str]:
    """Return the logged models of the two networks at the end of the path, as far as the store has them."""
    epoch = result.final.epoch
    ends = [context.index.look_up("train", context.cell_id(cell), fingerprint) for fingerprint in result.fingerprints]
    owners = [owner for end in ends if end is not None and (owner := context.owner(end)) is not None]
    return [owner.models[epoch] for owner in owners if epoch in owner.models]


def pair_points(result: PairResult) -> Iterator[Point]:
    """Yield every number that is logged of a pair: its path, barriers at all whole marks, distances."""
    final = result.final
    for split in SPLITS:
        yield from _path(final, split)
        if final.barriers is not None:
            yield from _barriers(final.barriers[split], split)
        over_training = [(m.epoch, m.barriers[split].barrier) for m in result.marks if m.barriers is not None]
        yield from finite((f"barrier_over_training/{split}", barrier, epoch) for epoch, barrier in over_training)
        yield from finite([(f"pair/disagreement_{split}", 100.0 * result.disagreement[split], 0)])
    yield from finite([("pair/distance", result.distance, 0), ("pair/cosine", result.cosine, 0)])
    alphas = final.curves["test"].alphas
    yield from finite(("path/alpha", alpha, path_step(alpha)) for alpha in alphas)


def path_step(alpha: float) -> int:
    """Return the step at which a point of the path is logged."""
    return round(1000 * alpha)


def _path(mark: MarkResult, split: SplitName) -> Iterator[Point]:
    curve = mark.curves[split]
    points = 100.0 / curve.n
    columns: dict[str, list[float | None]] = {
        "error": [wrong * points for wrong in curve.wrong],
        "excess": [over * points for over in excess(curve.wrong)],
        "loss": list(curve.loss),
    }
    for name, values in columns.items():
        steps = [path_step(alpha) for alpha in curve.alphas]
        yield from finite((f"path/{split}_{name}", value, step) for step, value in zip(steps, values, strict=True))


def _barriers(barriers: Barriers, split: SplitName) -> list[Point]:
    named = {SUFFIXES.get(field, f"_{field}"): value for field, value in vars(barriers).items()}
    return finite((f"barrier/{split}{suffix}", value, 0) for suffix, value in named.items())


def _tags(result: PairResult) -> dict[str, str]:
    tags = {"lmc.pair": result.pair}
    for i, (fingerprint, status) in enumerate(zip(result.fingerprints, result.final.status, strict=True)):
        tags[f"lmc.fingerprint_{i}"] = fingerprint
        tags[f"lmc.status_{i}"] = status
    return tags


def _params(context: Context, cell: Cell, result: PairResult) -> dict[str, Any]:
    """Return the cell's parameters and the seeds of both runs: `seeds.loader: 0 1`, one number where they are equal."""
    runs = next(pair.runs for pair in cell.pairs if pair.name == result.pair)
    first, second = ({k: v for k, v in run.flat().items() if k.startswith("seeds.")} for run in runs)
    both = {k: (first.get(k), second.get(k)) for k in {**first, **second}}
    seeds = {k: a if a == b else f"{a} {b}" for k, (a, b) in both.items()}
    return {**context.params(cell), "pair": result.pair, **seeds}


def _tables(result: PairResult) -> dict[str, bytes]:
    """Return the path and, where a mark lies within an epoch and so has no step, the barriers at all marks."""
    tables = {TABLE: path_table(result.final)}
    if any(mark.epoch != int(mark.epoch) for mark in result.marks):
        rows = [
            [mark.epoch, *(mark.barriers[split].barrier if mark.barriers else None for split in SPLITS)]
            for mark in result.marks
        ]
        columns = ["epoch", *(f"{split}_barrier" for split in SPLITS)]
        tables[OVER_TRAINING] = json.dumps({"columns": columns, "data": rows}, allow_nan=False).encode()
    return tables


def path_table(mark: MarkResult) -> bytes:
    """Return the path in the form of MLflow's tables: alpha, then wrong, n, error (points) and loss of each split."""
    columns = ["alpha"] + [f"{split}_{name}" for split in SPLITS for name in ("wrong", "n", "error", "loss")]
    rows: list[list[float | None]] = []
    for i, alpha in enumerate(mark.curves["test"].alphas):
        row: list[float | None] = [alpha]
        for split in SPLITS:
            curve = mark.curves[split]
            row += [curve.wrong[i], curve.n, curve.wrong[i] * (100.0 / curve.n), curve.loss[i]]
        rows.append(row)
    return json.dumps({"columns": columns, "data": rows}, allow_nan=False).encode()
