"""An experiment's runs from an sqlite store's file: MLflow takes four milliseconds a run, the file a tenth of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from lmc_repro.tracking.database import last_metrics, rows_of, values_of
from lmc_repro.tracking.names import CELL_ID
from lmc_repro.tracking.stored_run import StoredRun

_RUNS = (
    "SELECT runs.run_uuid, status, artifact_uri, tags.value FROM tags JOIN runs ON runs.run_uuid = tags.run_uuid "
    "WHERE tags.key = ? AND experiment_id = ? AND lifecycle_stage = 'active' ORDER BY start_time, runs.run_uuid"
)
_MODELS = (
    "SELECT source_id, step, destination_id FROM inputs "
    "WHERE source_type = 'RUN_OUTPUT' AND destination_type = 'MODEL_OUTPUT' AND source_id IN"
)


def read_runs(connection: sqlite3.Connection, experiment_id: str, cells: Collection[str]) -> list[StoredRun]:
    """Return the runs of these cells (by identity), oldest first, as MLflow's search would; sqlite3.Error if unknown.

    All of it is of one moment, whoever writes meanwhile.
    """
    connection.execute("BEGIN")
    try:
        runs = {
            run_id: StoredRun(run_id, experiment_id, status, place, {}, {}, {}, {}, set())
            for run_id, status, place, cell in connection.execute(_RUNS, (CELL_ID, experiment_id))
            if cell in cells
        }
        same: dict[str, str] = {}  # names and most values are those of every run: one string for all
        for table in ("tags", "params"):
            for run_id, name, value in values_of(connection, table, runs):
                getattr(runs[run_id], table)[same.setdefault(name, name)] = same.setdefault(value, value)
        for run_id, name, number in last_metrics(connection, runs):
            runs[run_id].metrics[same.setdefault(name, name)] = number
        for run_id, step, model in rows_of(connection, _MODELS, runs):
            runs[run_id].models[step] = model
    finally:
        connection.rollback()
    return list(runs.values())
