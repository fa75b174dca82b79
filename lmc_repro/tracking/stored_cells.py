"""A study's cells and the paths of their pairs, as a store holds them; a database is read without MLflow.

MLflow takes seconds to import and builds an object for each run, parameter and metric that it finds: 3 ms a run, of
10,000 in a large store.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from lmc_repro.errors import LmcError
from lmc_repro.tracking import names
from lmc_repro.tracking.database import last_metrics, open_read_only, rows_of, values_of
from lmc_repro.tracking.environment import database_path, tracking_uri
from lmc_repro.tracking.failures import REBUILD

PATHS = ("path/test_error", "path/train_error")


@dataclass
class StoredCell:
    """The latest run of a cell: its tags and last metrics, and the metrics of PATHS of its finished pairs, by alpha."""

    run_id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    paths: list[dict[str, list[float]]] = field(default_factory=list)


def stored_cells(root: Path, uri: str | None, study: str, profile: str) -> tuple[str, list[StoredCell]]:
    """Return the store's address and its cells of a study, the oldest first; LmcError if it cannot be read.

    Of a cell that was run on other data or versions, the latest is taken. A store that is not there is an error, one
    that has no such experiment has no cells.
    """
    uri = tracking_uri(root, uri)
    experiment = f"{names.EXPERIMENT_PREFIX}{study}/{profile}"
    database = database_path(uri)
    if database is None or not database.exists():
        return uri, _ask_mlflow(root, uri, study, profile)
    try:
        with closing(open_read_only(database)) as connection:
            return uri, _read(connection, experiment)
    except sqlite3.Error as error:
        raise LmcError(f"{database}: cannot be read as MLflow's store ({error}); {REBUILD}") from None


RUNS = (
    "SELECT r.run_uuid, r.status FROM runs r JOIN experiments e USING (experiment_id) "
    "JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = ? AND t.value = ? "
    "WHERE e.name = ? AND r.lifecycle_stage = 'active' ORDER BY r.start_time, r.run_uuid"
)


def _read(connection: sqlite3.Connection, experiment: str) -> list[StoredCell]:
    cells = [StoredCell(*row) for row in connection.execute(RUNS, (names.KIND, "cell", experiment))]
    by_run = {cell.run_id: cell for cell in cells}
    for run, key, value in values_of(connection, "tags", by_run):
        by_run[run].tags[key] = value
    latest = {cell.tags[names.CELL]: cell for cell in _one_each(cells)}
    by_run = {cell.run_id: cell for cell in latest.values()}
    for run, key, number in last_metrics(connection, by_run):
        by_run[run].metrics[key] = number
    by_identity = {cell.tags[names.CELL_ID]: cell for cell in latest.values()}
    pairs = [run for run, status in connection.execute(RUNS, (names.KIND, "pair", experiment)) if status == "FINISHED"]
    of_pair: dict[str, dict[str, str]] = {pair: {} for pair in pairs}
    keys = f"SELECT run_uuid, key, value FROM tags WHERE key IN ('{names.CELL_ID}', '{names.PAIR_KEY}') AND run_uuid IN"
    for run, key, value in rows_of(connection, keys, pairs):
        of_pair[run][key] = value
    # Of two with one key the later, as the index of MLflow's runs has it.
    newest = {(tags[names.CELL_ID], tags[names.PAIR_KEY]): run for run, tags in of_pair.items()}
    shown = {run: by_identity[cell] for (cell, _), run in newest.items() if cell in by_identity}
    points: dict[str, dict[str, dict[int, float]]] = {run: {} for run in shown}
    history = (
        f"SELECT run_uuid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics WHERE key IN {PATHS} "
        "AND run_uuid IN"
    )
    for run, key, step, value in rows_of(connection, history, shown, order="ORDER BY timestamp"):
        points[run].setdefault(key, {})[step] = math.nan if value is None else value
    for run, cell in shown.items():
        cell.paths.append({key: [line[step] for step in sorted(line)] for key, line in points[run].items()})
    return list(latest.values())


def _one_each(cells: Sequence[StoredCell]) -> list[StoredCell]:
    """Return one run for each identity, in the order of its first: the last finished one, or else the last."""
    kept: dict[str, StoredCell] = {}
    for cell in cells:
        known = kept.get(identity := cell.tags[names.CELL_ID])
        if known is None or known.status != "FINISHED" or cell.status == "FINISHED":
            kept[identity] = cell
    return list(kept.values())


def _ask_mlflow(root: Path, uri: str, study: str, profile: str) -> list[StoredCell]:
    from lmc_repro.tracking.reader import Reader

    reader = Reader.open(root, uri)
    index = reader.study(study, profile)
    if index is None:
        return []
    latest = {run.tags[names.CELL]: run for run in index.of_kind("cell")}
    cells = {
        run.tags[names.CELL_ID]: StoredCell(run.run_id, run.status, run.tags, run.metrics) for run in latest.values()
    }
    for pair in index.of_kind("pair"):
        if pair.finished and (cell := cells.get(pair.tags.get(names.CELL_ID, ""))):
            history = reader.history(pair, PATHS)
            cell.paths.append({key: [value for _, value in points] for key, points in history.items()})
    return list(cells.values())
