"""Measures the planes that cells ask for: measured before and still in the working store, or now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lmc_repro.barriers.measure import plane_or_reason
from lmc_repro.barriers.pair import PairEnd
from lmc_repro.barriers.plane import plane_key, plane_task
from lmc_repro.barriers.results import Plane
from lmc_repro.common.errors import LmcError
from lmc_repro.common.progress import part
from lmc_repro.config.plan import Cell
from lmc_repro.config.run import RunConfig
from lmc_repro.engine.local import LocalEngine
from lmc_repro.pipeline.workspace import Workspace
from lmc_repro.results.pairs import store_measured
from lmc_repro.results.planes import load_plane, runs_problem

RunsOf = Callable[[Cell, Sequence[RunConfig]], Sequence[PairEnd]]


def measure_planes(
    workspace: Workspace, cells: Sequence[Cell], fingerprints: Mapping[RunConfig, str], runs_of: RunsOf
) -> dict[str, Plane]:
    """Return the planes by cell key; of three runs that span none, the progress listener is told why.

    Args:
        workspace: The study under way.
        cells: Its cells; those without a plane are left out.
        fingerprints: Those of all runs.
        runs_of: From a cell and some of its runs to these with their weights.

    Raises:
        LmcError: A run on its plane has other counts than in its training.
    """
    w = workspace
    asked = [(cell, cell.plane, cell.runs[:3]) for cell in cells if cell.plane]
    if not asked:
        return {}
    store, planes = w.project.working / "pairs", dict[str, Plane]()
    keys = {cell.key: plane_key([fingerprints[run] for run in runs], grid, w.tag) for cell, grid, runs in asked}
    for name, key in keys.items():
        if plane := load_plane(store, key):
            planes[name] = plane
    missing = [entry for entry in asked if entry[0].key not in planes]
    tasks = (plane_task(runs_of(cell, runs), w.prepared, grid, w.device) for cell, grid, runs in missing)
    with part(w.listener, f"measuring {len(missing)} planes", len(missing)):
        engine = w.engine or LocalEngine(w.jobs)
        for (cell, _, _), found in zip(missing, engine.map(plane_or_reason, tasks), strict=True):
            if isinstance(found, Plane):
                if problem := runs_problem(w.runs, w.tag, found):
                    raise LmcError(problem)
                store_measured(store, keys[cell.key], found)
                planes[cell.key] = found
            else:
                w.listener.line(f"cell {cell.key}: no plane: {found}")
            w.listener.advance(1, cell.key)
    return planes
