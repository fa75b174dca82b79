"""The run of a cell: parent of its trainings and pairs, and where their summary stands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.files import sha256_bytes
from lmc_repro.schemas.base import canonical_json
from lmc_repro.tracking import names
from lmc_repro.tracking.notes import cell_note
from lmc_repro.tracking.points import Point, finite, history, log
from lmc_repro.tracking.provenance import provenance_tag

if TYPE_CHECKING:
    from lmc_repro.barriers.results import CellResult
    from lmc_repro.schemas.plan import Cell
    from lmc_repro.tracking.context import Context
    from lmc_repro.tracking.stored_run import StoredRun


def cell_run(context: Context, cell: Cell) -> StoredRun:
    """Return the cell's run, creating it if the store has none; the caller holds the store's lock."""
    cell_id = context.cell_id(cell)
    if known := context.index.get("cell", cell_id, cell_id) or context.index.look_up("cell", cell_id, cell_id):
        return known
    project_run = {} if context.project_run is None else {names.PROJECT_RUN: context.project_run}
    run = context.create("cell", cell, names.cell_name(cell), project_run)
    log(context.store.client, run.run_id, [], context.params(cell) | _paper_params(cell), {})
    return run


def finish_cell(context: Context, cell: Cell, result: CellResult) -> str:
    """Log the summary of a cell and mark its run as finished; nothing is logged that stands there already.

    A number that the store has and the result has not (its pairs are no longer judged) becomes NaN: MLflow deletes no
    metric.
    """
    points = list(cell_points(result, cell.paper))
    tags = {**_tags(context, cell, result), names.NOTE: cell_note(cell, result)}
    content = {"points": sorted((p.name, p.step, p.value) for p in points), "tags": tags}
    tags[names.CONTENT] = sha256_bytes(canonical_json(content).encode())
    with context.store.lock:
        run = cell_run(context, cell)
        if run.tags.get(names.CONTENT) != tags[names.CONTENT]:
            run = context.refresh(run)
            params = {k: v for k, v in (context.params(cell) | _paper_params(cell)).items() if k not in run.params}
            log(context.store.client, run.run_id, _new(context, run, points), params, tags)
            run.tags.update(tags)
            context.written.add(run.run_id)
        return context.finish(run)


def _new(context: Context, run: StoredRun, points: list[Point]) -> list[Point]:
    """Return the points that differ from what the store shows, and NaN for those that are gone."""
    shown = history(context.store.client, run.run_id, run.metrics)
    wanted = {(p.name, p.step): p.value for p in points}
    gone = [Point(name, math.nan, step) for (name, step), v in shown.items() if (name, step) not in wanted and v == v]
    return gone + [p for p in points if shown.get((p.name, p.step)) != p.value]


def cell_points(result: CellResult, paper: Mapping[str, float] | None) -> Iterator[Point]:
    """Yield every number that is logged of a cell: barriers over its pairs, in points, and the paper's."""
    for split in SPLITS:
        summary = result.summary[split]
        barrier = f"barrier/{split}"
        yield from finite(
            [
                (f"{barrier}_n", len(summary.values), 0),
                (f"{barrier}_mean", summary.mean, 0),
                (f"{barrier}_median", summary.median, 0),
                (f"{barrier}_min", summary.min, 0),
                (f"{barrier}_max", summary.max, 0),
                (f"{barrier}_sd", summary.sd, 0),
                (f"{barrier}_line_mean", summary.line_mean, 0),
                (f"{barrier}_norm_pct_mean", summary.normalised_mean, 0),
                *((f"barrier_over_training/{split}_mean", late.mean, late.epoch) for late in summary.late),
                (f"paper/{split}", (paper or {}).get(split), 0),
            ]
        )


def _tags(context: Context, cell: Cell, result: CellResult) -> dict[str, str]:
    tags = {"lmc.provenance": provenance_tag(context.plan.profile_config, cell)}
    for split in SPLITS:
        summary = result.summary[split]
        tags[f"lmc.verdict.{split}"] = summary.verdict or "none"
        tags[f"lmc.verdict_strict.{split}"] = summary.verdict_strict or "none"
        tags[f"lmc.flags.{split}"] = " ".join(summary.flags) or "none"
    return tags


def _paper_params(cell: Cell) -> dict[str, Any]:
    return {f"paper.{split}": points for split, points in (cell.paper or {}).items()}
