"""The look-up of runs: directly from an sqlite store's file, without MLflow; from servers through MLflow's search.

MLflow takes seconds to import, would create or migrate a database that it opens, and needs 4 ms per run; the file, read
only, a tenth of one. Runs are chosen by tags, that is by identity: fingerprint, cell, pair key.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.config.base import epoch_text
from lmc_repro.tracking import artifacts, names
from lmc_repro.tracking.store import (
    REBUILD,
    NoStore,
    check_database,
    connect,
    database_path,
    import_mlflow,
    one_line_errors,
    require_in_place,
    take_project_run,
    tracking_uri,
)
from lmc_repro.training.checkpoint import Checkpoint, verified
from lmc_repro.training.run_folder import checkpoint_name, kept_epochs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")
Points = list[tuple[int, float]]
"""(step, value), in the order of steps."""

Wanted = Mapping[str, str | Collection[str]]
"""A value, or those allowed, of each tag. The first is looked up, the others are checked: the rarest comes first."""


@dataclass
class StoredRun:
    """One run as last seen.

    `models` gives the logged model of each epoch among its outputs, `inputs` those among its inputs (`Reader.whole`).
    Its writer has `logged`, each (metric, step) in the store (None: unknown), and `made`: nothing but these is there.
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
    start_ms: int | None = None
    logged: set[tuple[str, int]] | None = None
    made: bool = False

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
            start_ms=run.info.start_time,
        )

    @classmethod
    def of_answer(cls, run: dict[str, Any]) -> StoredRun:
        """Return a run of a server's answer."""
        info, data = run["info"], run.get("data", {})
        outputs, inputs = run.get("outputs", {}), run.get("inputs", {})
        return cls(
            run_id=info["run_id"],
            experiment_id=info["experiment_id"],
            status=info["status"],
            artifact_uri=info["artifact_uri"],
            params={entry["key"]: entry.get("value", "") for entry in data.get("params", ())},
            tags={entry["key"]: entry.get("value", "") for entry in data.get("tags", ())},
            metrics={entry["key"]: float(entry["value"]) for entry in data.get("metrics", ())},
            models={int(entry.get("step", 0)): entry["model_id"] for entry in outputs.get("model_outputs", ())},
            inputs={entry["model_id"] for entry in inputs.get("model_inputs", ())},
            start_ms=int(info["start_time"]),
        )


@dataclass(frozen=True)
class TrackedRun:
    """A finished training in MLflow with its status.json.

    `owner` has its checkpoints: the last as a logged model, earlier ones as files. It is the run itself, or the
    original of a reused training.
    """

    run_id: str
    fingerprint: str
    status: Mapping[str, Any]
    owner: StoredRun


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment of the store, and the address of its artifacts."""

    experiment_id: str
    name: str
    location: str


class Reader:
    """Reads runs, and changes nothing. Anything missing or unreadable is an LmcError of one line.

    An sqlite store's file is read past MLflow, at one moment per question, whoever writes meanwhile; what any process
    has committed is seen. The tables of another MLflow, and servers, are searched through MLflow.
    """

    def __init__(self, uri: str, client: MlflowClient | None = None) -> None:
        self.uri = uri
        self._database = database_path(uri)
        self._archives: dict[str, dict[str, bytes]] = {}
        if client is not None:
            self.client = client

    @classmethod
    def open(cls, root: Path, uri: str | None = None) -> Reader:
        """Open the store at `uri`, default: that of MLFLOW_TRACKING_URI or the project's; LmcError if there is none."""
        take_project_run()
        reader = cls(tracking_uri(root, uri))
        if (database := reader._database) is not None and not database.exists():
            check_database(database)
            raise NoStore(f"{database}: no MLflow store; run `dvc repro`, or name another with MLFLOW_TRACKING_URI")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; by default minutes
        reader.experiments()
        require_in_place(root, reader.uri)
        return reader

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store, imported when it is first needed."""
        return connect(self.uri)

    def experiments(self, prefix: str = names.EXPERIMENT_PREFIX) -> list[StoredExperiment]:
        """Return the experiments whose name begins with `prefix`, by name."""
        query = (
            "SELECT experiment_id, name, artifact_location FROM experiments "
            "WHERE lifecycle_stage = 'active' AND name LIKE ? ORDER BY name"
        )
        rows = self._read(lambda store: store.execute(query, (f"{prefix}%",)).fetchall())
        if rows is None:
            client = self.client
            with one_line_errors(self.uri):
                found = client.search_experiments(filter_string=f"name LIKE '{prefix}%'", order_by=["name"])
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
        allowed = {name: {value} if isinstance(value, str) else set(value) for name, value in wanted.items()}
        found = self._read(lambda store: _read_runs(store, allowed, experiments, ids, only))
        return self._search(allowed, experiments, ids) if found is None else found

    def filled(self, runs: Iterable[StoredRun]) -> list[StoredRun]:
        """Return runs of which `only` some tags were read with all that they hold; a search has read that already."""
        known = {run.run_id: run for run in runs}
        found = self._read(lambda store: _read_runs(store, {}, None, known, None))
        return list(known.values()) if found is None else found

    def run(self, run_id: str) -> StoredRun:
        """Return the run with this id, a deleted one too."""
        if found := self._read(lambda store: _filled(store, store.execute(f"{_RUNS} WHERE run_uuid = ?", (run_id,)))):
            return found[0]
        return self.whole(run_id)

    def whole(self, run_id: str) -> StoredRun:
        """Return the run as MLflow has it, its inputs included."""
        client = self.client
        from mlflow.exceptions import MlflowException

        try:
            with one_line_errors(self.uri):
                return StoredRun.of(client.get_run(run_id))
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
            client = self.client
            with one_line_errors(self.uri):
                rows = [
                    (run.run_id, name, point.step, point.value)
                    for run in runs
                    for name in run.metrics.keys() & wanted
                    for point in sorted(client.get_metric_history(run.run_id, name), key=lambda p: p.timestamp)
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
        with self._artifact(run.artifact_uri, name) as path:
            return read_json(path, REBUILD if run.kind == "train" and run.finished else fix)

    def artifact(self, run: StoredRun, name: str) -> tuple[str, bytes]:
        """Return where a file of the run's artifacts lies, and its bytes; LmcError if it is not there."""
        with self._artifact(run.artifact_uri, name) as path:
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
        return TrackedRun(run.run_id, run.tags[names.FINGERPRINT], self.json_artifact(run, "status.json"), owner)

    def checkpoint(self, run: TrackedRun, epoch: float) -> Checkpoint:
        """Return the weights that MLflow holds of a run at an epoch, checked against the recorded sha256."""
        sha256 = run.status["checkpoints"].get(epoch_text(epoch))
        who = f"{self.uri}: run {run.run_id} ({run.fingerprint})"
        if sha256 is not None and epoch not in kept_epochs(run.status):
            raise LmcError(
                f"{who} was published without the weights of epoch {epoch_text(epoch)}; run it with --keep all and "
                "publish it again"
            )
        if sha256 is None or not run.owner.models:
            raise LmcError(f"{who} has no checkpoint of epoch {epoch}; {REBUILD}")
        with self._weights(run, epoch) as path:
            return verified(path, sha256, REBUILD)

    def stored_checkpoint(self, run: TrackedRun, epoch: float) -> tuple[Path, bytes]:
        """Return the file of an epoch's weights and its bytes, unchecked."""
        with self._weights(run, epoch) as path:
            return path, _read_bytes(path, str(path))

    def _weights(self, run: TrackedRun, epoch: float) -> AbstractContextManager[Path]:
        """Give the file of an epoch's weights."""
        name, uri = checkpoint_name(epoch), run.owner.artifact_uri
        if (model_id := run.owner.models.get(epoch)) is None:
            return self._artifact(uri, f"{artifacts.CHECKPOINTS}/{name}")
        location = uri.removesuffix(f"/{run.owner.run_id}/artifacts")
        return self._artifact(f"{location}/models/{model_id}/artifacts", name)

    @contextmanager
    def _artifact(self, uri: str, name: str) -> Iterator[Path]:
        """Give the path of one file of an artifact address."""
        import_mlflow(self.uri)
        with one_line_errors(self.uri):
            for archive, own in artifacts.archives_of(uri, name).items():
                if (content := self._unpacked(uri, archive).get(own)) is not None:
                    with artifacts.as_file(uri, name, content) as path:
                        yield path
                    return
            with artifacts.fetched(uri, name, self.uri) as path:
                yield path

    def _unpacked(self, uri: str, archive: str) -> dict[str, bytes]:
        """Return the files of an archive; the last two, of a pair's ends, are remembered."""
        place = f"{uri}/{archive}"
        if (found := self._archives.get(place)) is None:
            found = artifacts.unpacked(uri, archive, self.uri)
            self._archives = dict([*self._archives.items(), (place, found)][-2:])
        return found

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the answer of `ask` from the store's file; None if MLflow must search, LmcError if it is no store."""
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
        self, allowed: Mapping[str, set[str]], experiments: Collection[str] | None, ids: Collection[str] | None
    ) -> list[StoredRun]:
        """Do as `runs`, through MLflow, whose search has no lists of a tag's values."""
        if ids is not None and not ids:
            return []
        if experiments is None:
            experiments = [experiment.experiment_id for experiment in self.experiments()]
        clauses = [f"tags.`{name}` = '{min(values)}'" for name, values in allowed.items() if len(values) == 1]
        clauses += [] if ids is None else [f"attributes.run_id IN ({', '.join(map(repr, sorted(ids)))})"]
        runs, token = list[StoredRun](), None
        while True:
            with one_line_errors(self.uri):
                page, token = self._page(list(experiments), " and ".join(clauses), token)
            runs += page
            if not token:
                return [run for run in runs if all(run.tags.get(name) in values for name, values in allowed.items())]

    def _page(self, experiments: list[str], query: str, token: str | None) -> tuple[list[StoredRun], str | None]:
        """Return the next 1,000 runs of a search, and the token of those after them.

        A server's answer is read as it is: MLflow's parsing takes 4 ms per run, most of a long list's time.
        """
        client, order = self.client, ["attributes.start_time ASC"]
        if not self.uri.startswith("http"):
            page = client.search_runs(experiments, query, order_by=order, page_token=token)
            return [StoredRun.of(run) for run in page], page.token
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        asked = {"experiment_ids": experiments, "filter": query, "order_by": order, "page_token": token or ""}
        creds, place = get_default_host_creds(self.uri), "/api/2.0/mlflow/runs/search"  # type: ignore[no-untyped-call]
        response = http_request(creds, place, "POST", json=asked)  # type: ignore[no-untyped-call]
        answer = verify_rest_response(response, place).json()
        return [StoredRun.of_answer(run) for run in answer.get("runs", ())], answer.get("next_page_token")


_LIST = "(SELECT value FROM json_each(?))"  # one variable, however many values: sqlite has a limit of variables
_RUNS = "SELECT run_uuid, runs.experiment_id, status, artifact_uri, start_time FROM runs"
_HOLD = {
    "tags": f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN {_LIST}",
    "params": f"SELECT run_uuid, key, value FROM params WHERE run_uuid IN {_LIST}",
    "metrics": "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics "
    f"WHERE run_uuid IN {_LIST}",
    "models": "SELECT source_id, step, destination_id FROM inputs WHERE source_type = 'RUN_OUTPUT' "
    f"AND destination_type = 'MODEL_OUTPUT' AND source_id IN {_LIST}",
}


def _read_runs(
    store: sqlite3.Connection,
    allowed: Mapping[str, set[str]],
    experiments: Collection[str] | None,
    ids: Collection[str] | None,
    only: Collection[str] | None,
) -> list[StoredRun]:
    """Do as `Reader.runs`; sqlite3.Error if the tables differ."""
    where, values, own = ["runs.lifecycle_stage = 'active'", "experiments.lifecycle_stage = 'active'"], [], ""
    for name, found in allowed.items():
        where.append(f"run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value IN {_LIST}{own})")
        values += [name, json.dumps(sorted(found))]
        own = " AND run_uuid = runs.run_uuid"  # the first is looked up, the others are checked
    for column, some in (("run_uuid", ids), ("runs.experiment_id", experiments)):
        if some is not None:
            where.append(f"{column} IN {_LIST}")
            values.append(json.dumps(sorted(some)))
    query = f"{_RUNS} JOIN experiments USING (experiment_id) WHERE {' AND '.join(where)} ORDER BY start_time, run_uuid"
    return _filled(store, store.execute(query, values), only)


def _filled(store: sqlite3.Connection, rows: Iterable[Any], only: Collection[str] | None = None) -> list[StoredRun]:
    """Return runs with their entries in the tables; with `only`, these tags alone."""
    runs = {row[0]: StoredRun(row[0], str(row[1]), row[2], row[3], start_ms=row[4]) for row in rows}
    same: dict[str, str] = {}  # names and most values are those of every run: one string for all
    values = [json.dumps(list(runs))]
    queries = _HOLD
    if only is not None:
        queries, values = {"tags": f"{_HOLD['tags']} AND key IN {_LIST}"}, [*values, json.dumps(sorted(only))]
    for part, query in queries.items():
        for run_id, name, value in store.execute(query, values):
            if isinstance(name, str):
                name = same.setdefault(name, name)
            if isinstance(value, str):
                value = same.setdefault(value, value)
            getattr(runs[run_id], part)[name] = math.nan if value is None else value
    return list(runs.values())


def _read_bytes(path: Path, place: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LmcError(f"{place}: cannot be read ({error.strerror}); {REBUILD}") from None
