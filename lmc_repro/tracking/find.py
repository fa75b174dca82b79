"""The look-up of runs: straight from an sqlite store's file, without MLflow; from servers through MLflow's search.

MLflow takes seconds to import, would create or migrate a database that it opens, and needs 4 ms per run; the file, read
only, a tenth of one. Runs are chosen by tags, that is by identity: fingerprint, cell, pair key.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.tracking import artifacts, names
from lmc_repro.tracking.store import (
    REBUILD,
    database_path,
    import_mlflow,
    one_line_errors,
    take_project_run,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from lmc_repro.training.checkpoint import Checkpoint

T = TypeVar("T")
Points = list[tuple[int, float]]
"""(step, value), in the order of steps."""

Wanted = Mapping[str, str | Collection[str]]
"""A value, or those allowed, of each tag. The first is looked up, the others are checked: the rarest comes first."""

PAGE = 1000


@dataclass
class StoredRun:
    """One run as last seen.

    `models` gives the logged model of each epoch among its outputs, `inputs` those among its inputs (`Reader.whole`).
    """

    run_id: str
    experiment_id: str
    status: str
    artifact_uri: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    models: dict[float, str] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @property
    def kind(self) -> str:
        """Return cell, train or pair; `other` for a run that is not ours."""
        return self.tags.get(names.KIND, "other")

    @classmethod
    def of(cls, run: Run) -> StoredRun:
        outputs = run.outputs.model_outputs if run.outputs else []
        inputs = (run.inputs.model_inputs or []) if run.inputs else []
        return cls(
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            status=run.info.status,
            artifact_uri=run.info.artifact_uri,
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            metrics=dict(run.data.metrics),
            models={output.step: output.model_id for output in outputs},
            inputs={model.model_id for model in inputs},
        )


@dataclass(frozen=True)
class TrackedRun:
    """A finished training in MLflow.

    `status` is its status.json. `models` gives the logged model of its last epoch, below the experiment's artifacts
    `location`; earlier checkpoints are files of the run's own artifacts at `artifact_uri`. For a reused training all
    of it is the original's.
    """

    run_id: str
    fingerprint: str
    tags: Mapping[str, str]
    status: Mapping[str, Any]
    models: Mapping[float, str]
    artifact_uri: str
    location: str


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment of the store, and the address of its artifacts."""

    experiment_id: str
    name: str
    location: str


class Reader:
    """Reads runs, and changes nothing. Whatever it cannot find or read is an LmcError of one line.

    An sqlite store's file is read past MLflow, at one moment per question, whoever writes meanwhile; what any process
    has committed is seen. The tables of another MLflow, and servers, are searched through MLflow.
    """

    def __init__(self, uri: str, client: MlflowClient | None = None) -> None:
        self.uri = uri
        self._database = database_path(uri)
        self._locations: dict[str, str] = {}
        if client is not None:
            self.client = client

    @classmethod
    def open(cls, root: Path, uri: str | None = None) -> Reader:
        """Open the store at `uri`, default: that of MLFLOW_TRACKING_URI or the project's; LmcError if there is none."""
        take_project_run()
        reader = cls(tracking_uri(root, uri))
        if (database := reader._database) is not None and not database.exists():
            raise LmcError(f"{database}: no MLflow store; run `dvc repro`, or name another with MLFLOW_TRACKING_URI")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; by default minutes
        reader.experiments()
        return reader

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store, imported when it is first needed."""
        import_mlflow(self.uri)
        from mlflow import MlflowClient

        with one_line_errors(self.uri):
            return MlflowClient(tracking_uri=self.uri)

    def experiments(self, prefix: str = names.EXPERIMENT_PREFIX) -> list[StoredExperiment]:
        """Return the experiments whose name begins with `prefix`, by name."""
        query = (
            "SELECT experiment_id, name, artifact_location FROM experiments "
            "WHERE lifecycle_stage = 'active' AND name LIKE ? ORDER BY name"
        )
        rows = self._read(lambda store: store.execute(query, (f"{prefix}%",)).fetchall())
        if rows is None:
            with one_line_errors(self.uri):
                like = f"name LIKE '{prefix}%'"
                found = self.client.search_experiments(filter_string=like, order_by=["name"])
                rows = [(e.experiment_id, e.name, e.artifact_location) for e in found]
        return [StoredExperiment(str(key), name, location or "") for key, name, location in rows]

    def study(self, study: str, profile: str) -> StoredExperiment | None:
        """Return a study's experiment under a profile, None if the store has none."""
        name = f"{names.EXPERIMENT_PREFIX}{study}/{profile}"
        return next((found for found in self.experiments(name) if found.name == name), None)

    def runs(
        self,
        wanted: Wanted,
        experiments: Collection[str] | None = None,
        ids: Collection[str] | None = None,
        only: Collection[str] | None = None,
    ) -> list[StoredRun]:
        """Return the runs that have the wanted tags, oldest first, without deleted ones.

        Args:
            wanted: Values of tags.
            experiments: Ids of experiments to look into; all experiments of ours by default.
            ids: The only runs that may be found.
            only: Names of the tags to read, and nothing else but them; all that a run holds by default.
        """
        found = self._read(lambda store: _read_runs(store, wanted, experiments, ids, only))
        return self._search(wanted, experiments, ids) if found is None else found

    def run(self, run_id: str) -> StoredRun:
        """Return the run with this id, a deleted one too."""
        if found := self._read(lambda store: _filled(store, store.execute(f"{_RUNS} WHERE run_uuid = ?", (run_id,)))):
            return found[0]
        return self.whole(run_id)

    def whole(self, run_id: str) -> StoredRun:
        """Return the run as MLflow has it, its inputs included."""
        import_mlflow(self.uri)
        from mlflow.exceptions import MlflowException

        try:
            with one_line_errors(self.uri):
                return StoredRun.of(self.client.get_run(run_id))
        except MlflowException as error:
            said = " ".join(str(error).split())[:200]
            raise LmcError(f"{self.uri}: run {run_id!r}: {said}; `lmc list STUDY` prints the ids") from None

    def siblings(self, run: StoredRun) -> list[StoredRun]:
        """Return the runs below a cell's run, or beside a training or a pair, oldest first."""
        return self.runs({names.PARENT: run.tags.get(names.PARENT, run.run_id)}, [run.experiment_id])

    def history(self, run: StoredRun, metrics: Iterable[str]) -> dict[str, Points]:
        """Return all points of those metrics that the run has; of two at one step the later."""
        return self.histories([run], metrics)[run.run_id]

    def histories(self, runs: Collection[StoredRun], metrics: Iterable[str]) -> dict[str, dict[str, Points]]:
        """Return the same of several runs, by run id."""
        wanted = tuple(metrics)
        query = (
            "SELECT run_uuid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
            f"WHERE run_uuid IN {_LIST} AND key IN {_LIST} ORDER BY timestamp"
        )
        values = (json.dumps([run.run_id for run in runs]), json.dumps(wanted))
        rows = self._read(lambda store: store.execute(query, values).fetchall())
        if rows is None:
            with one_line_errors(self.uri):
                rows = [
                    (run.run_id, name, point.step, point.value)
                    for run in runs
                    for name in wanted
                    if name in run.metrics
                    for point in sorted(self.client.get_metric_history(run.run_id, name), key=lambda p: p.timestamp)
                ]
        last: dict[str, dict[str, dict[int, float]]] = {run.run_id: {} for run in runs}
        for run_id, name, step, value in rows:
            last[run_id].setdefault(name, {})[step] = math.nan if value is None else value
        return {
            run_id: {name: sorted(found[name].items()) for name in wanted if name in found}
            for run_id, found in last.items()
        }

    def json_artifact(self, run: StoredRun, name: str) -> Any:
        """Return a JSON file of the run's artifacts."""
        fix = f"run {run.run_id} of {self.uri} lacks it: is it a finished training of this project?"
        if run.kind == "train" and run.finished:
            fix = REBUILD
        with self._errors(), artifacts.scratch(run.artifact_uri) as folder:
            return read_json(artifacts.get(run.artifact_uri, name, self.uri, folder), fix)

    def artifact(self, run: StoredRun, name: str) -> tuple[str, bytes]:
        """Return where a file of the run's artifacts lies, and its bytes; LmcError if it is not there."""
        with self._errors(), artifacts.scratch(run.artifact_uri) as folder:
            path = artifacts.get(run.artifact_uri, name, self.uri, folder)
            place = str(path) if artifacts.local_path(run.artifact_uri) else f"{run.artifact_uri}/{name}"
            return place, _read_bytes(path, place)

    def tracked(self, run: StoredRun, owner: StoredRun | None = None) -> TrackedRun:
        """Return a finished training with its status and where its checkpoints are.

        Args:
            run: The training.
            owner: The run that holds its checkpoints: by default its own, or that of the training it was reused from.
        """
        if owner is None:
            original = run.tags.get(names.REUSED_FROM)
            owner = self.run(original) if original else run
        if owner.experiment_id not in self._locations:
            self._locations |= {e.experiment_id: e.location for e in self.experiments()}
        return TrackedRun(
            run_id=run.run_id,
            fingerprint=run.tags[names.FINGERPRINT],
            tags=run.tags,
            status=self.json_artifact(run, "status.json"),
            models=owner.models,
            artifact_uri=owner.artifact_uri,
            location=self._locations.get(owner.experiment_id, "").rstrip("/"),
        )

    def checkpoint(self, run: TrackedRun, epoch: float) -> Checkpoint:
        """Return the weights that MLflow holds of a run at an epoch, checked against the recorded sha256."""
        from lmc_repro.config.base import mark_text
        from lmc_repro.training.checkpoint import verified
        from lmc_repro.training.run_folder import kept_marks

        sha256 = run.status["checkpoints"].get(mark_text(epoch))
        who = f"{self.uri}: run {run.run_id} ({run.fingerprint})"
        if sha256 is not None and epoch not in kept_marks(run.status):
            raise LmcError(
                f"{who} was published without the weights of epoch {mark_text(epoch)}; run it with --keep all and "
                "publish it again"
            )
        if sha256 is None or not run.models:
            raise LmcError(f"{who} has no checkpoint of epoch {epoch}; {REBUILD}")
        with self._errors(), artifacts.scratch(run.location) as scratch:
            return verified(self._weights_file(run, epoch, scratch), sha256, REBUILD)

    def stored_checkpoint(self, run: TrackedRun, mark: float) -> tuple[Path, bytes]:
        """Return the file of an epoch's weights and its bytes as they are, whatever was recorded of them."""
        with self._errors(), artifacts.scratch(run.location) as scratch:
            path = self._weights_file(run, mark, scratch)
            return path, _read_bytes(path, str(path))

    def _weights_file(self, run: TrackedRun, epoch: float, scratch: Path) -> Path:
        """Return where the weights lie: where MLflow keeps them today, or where it says; asking costs more."""
        from lmc_repro.training.run_folder import checkpoint_name

        name = checkpoint_name(epoch)
        if (model_id := run.models.get(epoch)) is None:
            return artifacts.get(f"{run.artifact_uri}/{artifacts.CHECKPOINTS}", name, self.uri, scratch)
        path = artifacts.get(f"{run.location}/models/{model_id}/artifacts", name, self.uri, scratch)
        if path.is_file():
            return path
        import_mlflow(self.uri)
        from mlflow.exceptions import MlflowException

        try:
            location = self.client.get_logged_model(model_id).artifact_location
        except MlflowException:
            return path
        return artifacts.get(location, name, self.uri, scratch)

    def _errors(self) -> Any:
        import_mlflow(self.uri)
        return one_line_errors(self.uri)

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what `ask` finds in the store's file; None if MLflow has to be asked, LmcError if it is no store."""
        if self._database is None:
            return None
        tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('runs', 'experiments')"
        try:
            with closing(sqlite3.connect(f"file:{quote(str(self._database))}?mode=ro", uri=True, timeout=5)) as store:
                store.execute("BEGIN")
                try:
                    return ask(store)
                except sqlite3.Error:
                    if store.execute(tables).fetchone() == (2,):
                        return None
                    raise
        except sqlite3.Error as error:
            raise LmcError(f"{self._database}: cannot be read as MLflow's store ({error}); {REBUILD}") from None

    def _search(
        self, wanted: Wanted, experiments: Collection[str] | None, ids: Collection[str] | None
    ) -> list[StoredRun]:
        """Return what `runs` does, through MLflow, whose search knows no lists of a tag's values."""
        if experiments is None:
            experiments = [experiment.experiment_id for experiment in self.experiments()]
        allowed = {name: {value} if isinstance(value, str) else set(value) for name, value in wanted.items()}
        clauses = [f"tags.`{name}` = '{min(values)}'" for name, values in allowed.items() if len(values) == 1]
        asked = sorted(ids) if ids is not None else None
        parts = [None] if asked is None else [asked[i : i + PAGE] for i in range(0, len(asked), PAGE)]
        runs: list[StoredRun] = []
        with one_line_errors(self.uri):
            for part in parts:
                some = [] if part is None else [f"attributes.run_id IN ({', '.join(map(repr, part))})"]
                token: str | None = None
                while True:
                    page = self.client.search_runs(
                        list(experiments),
                        " and ".join(clauses + some),
                        max_results=PAGE,
                        order_by=["attributes.start_time ASC"],
                        page_token=token,
                    )
                    runs += map(StoredRun.of, page)
                    if not (token := page.token):
                        break
        return [run for run in runs if all(run.tags.get(name) in values for name, values in allowed.items())]


_LIST = "(SELECT value FROM json_each(?))"  # one variable, however many values: sqlite has a limit of variables
_RUNS = "SELECT run_uuid, runs.experiment_id, status, artifact_uri FROM runs"


def _read_runs(
    store: sqlite3.Connection,
    wanted: Wanted,
    experiments: Collection[str] | None,
    ids: Collection[str] | None,
    only: Collection[str] | None,
) -> list[StoredRun]:
    """Return what `Reader.runs` does; sqlite3.Error if the tables are others."""
    query = "SELECT runs.run_uuid, runs.experiment_id, status, artifact_uri FROM"
    where, values = ["runs.lifecycle_stage = 'active'", "e.lifecycle_stage = 'active'"], []
    for i, (name, value) in enumerate(wanted.items()):
        if i == 0:
            query += " tags AS t CROSS JOIN"
            where.append(f"runs.run_uuid = t.run_uuid AND t.key = ? AND t.value IN {_LIST}")
        else:
            has = f"SELECT 1 FROM tags WHERE run_uuid = runs.run_uuid AND key = ? AND value IN {_LIST}"
            where.append(f"EXISTS ({has})")
        values += [name, json.dumps([value] if isinstance(value, str) else sorted(value))]
    if ids is not None:
        where.append(f"runs.run_uuid IN {_LIST}")
        values.append(json.dumps(sorted(ids)))
    if experiments is not None:
        where.append(f"runs.experiment_id IN {_LIST}")
        values.append(json.dumps([int(key) for key in experiments]))
    query += f" runs JOIN experiments e USING (experiment_id) WHERE {' AND '.join(where)}"
    return _filled(store, store.execute(f"{query} ORDER BY start_time, runs.run_uuid", values), only)


def _filled(store: sqlite3.Connection, rows: Iterable[Any], only: Collection[str] | None = None) -> list[StoredRun]:
    """Return runs with what the tables hold of them, of `only` these tags alone."""
    runs = {run_id: StoredRun(run_id, str(key), status, place) for run_id, key, status, place in rows}
    same: dict[str, str] = {}  # names and most values are those of every run: one string for all
    ids = json.dumps(list(runs))
    tags = f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN {_LIST}"
    if only is not None:
        for run_id, name, value in store.execute(f"{tags} AND key IN {_LIST}", (ids, json.dumps(sorted(only)))):
            runs[run_id].tags[name] = same.setdefault(value, value)
        return list(runs.values())
    for run_id, name, value in store.execute(tags, (ids,)):
        runs[run_id].tags[same.setdefault(name, name)] = same.setdefault(value, value)
    for run_id, name, value in store.execute(tags.replace("FROM tags", "FROM params"), (ids,)):
        runs[run_id].params[same.setdefault(name, name)] = same.setdefault(value, value)
    last = "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics"
    for run_id, name, number in store.execute(f"{last} WHERE run_uuid IN {_LIST}", (ids,)):
        runs[run_id].metrics[same.setdefault(name, name)] = math.nan if number is None else number
    outputs = (
        "SELECT source_id, step, destination_id FROM inputs WHERE source_type = 'RUN_OUTPUT' "
        f"AND destination_type = 'MODEL_OUTPUT' AND source_id IN {_LIST}"
    )
    for run_id, step, model in store.execute(outputs, (ids,)):
        runs[run_id].models[step] = model
    return list(runs.values())


def _read_bytes(path: Path, place: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LmcError(f"{place}: cannot be read ({error.strerror}); {REBUILD}") from None
