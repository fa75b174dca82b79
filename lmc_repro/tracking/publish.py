"""Publishes a study's trainings, pairs and cells: each once, completed where it was cut off, never doubled."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lmc_repro.common.locks import this_process
from lmc_repro.common.numerics import torch_version
from lmc_repro.config.base import epoch_text, parse_epoch
from lmc_repro.config.own_code import short_name
from lmc_repro.config.plan import COMMON, ends_at
from lmc_repro.data.status import folder_of
from lmc_repro.tracking import artifacts, content, names
from lmc_repro.tracking.content import DISTANCE, METRICS, TABLE, Point
from lmc_repro.tracking.find import Reader, StoredRun, TrackedRun
from lmc_repro.tracking.known import KnownRuns
from lmc_repro.tracking.project_run import link_cells
from lmc_repro.tracking.store import Store, insist, one_line_errors, open_store, take_project_run
from lmc_repro.tracking.ui import publish_view
from lmc_repro.tracking.weights import distance, kept_weights, publish_earlier, publish_model
from lmc_repro.training.run_folder import checkpoint_name, kept_epochs

if TYPE_CHECKING:
    from lmc_repro.barriers.results import CellResult, PairResult
    from lmc_repro.common.project import Project
    from lmc_repro.config.plan import Cell, StudyPlan
    from lmc_repro.config.run import RunConfig
    from lmc_repro.tracking.names import Kind
    from lmc_repro.training.checkpoint import Checkpoint
    from lmc_repro.training.run_folder import RunFolder

CHUNK = 800  # with 100 parameters and 100 tags this is the most that one call may carry


@dataclass
class Tracker:
    """A study's runs in MLflow. mlflow is imported when one is opened, not before; no run is ever "active".

    Every method may be repeated: what the store holds is not logged again, and what was cut off is completed. A store
    that cannot be read or reached raises LmcError.
    """

    project: Project
    plan: StudyPlan
    digests: Mapping[str, str]
    numerics: str
    torch: str
    store: Store
    project_run: str | None
    _written: set[str] = field(default_factory=set)  # runs that this process completed
    _settled: bool = True
    _live: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client, self.reader = self.store.client, Reader(self.store.uri, self.store.client)
        self._known = KnownRuns(self.reader, self.store.experiment.experiment_id, self.store.writer)

    @classmethod
    def open(
        cls, project: Project, plan: StudyPlan, digests: Mapping[str, str], numerics: str, torch: str | None = None
    ) -> Tracker:
        """Open the project's store, or that of MLFLOW_TRACKING_URI, and the experiment of the study.

        Args:
            project: Whose store it is.
            plan: The study; the runs of its cells are loaded at once.
            digests: The data digest of each data set of the plan.
            numerics: The numerics tag of the fingerprints.
            torch: Their version of torch, by default the installed one.
        """
        project_run = take_project_run()
        store = open_store(project, plan, content.experiment_note(plan))
        tracker = cls(project, plan, digests, numerics, torch or torch_version(), store, project_run)
        with tracker._turn():
            publish_view(store.client, store.experiment)
            tracker._look()
        return tracker

    def cell_id(self, cell: Cell) -> str:
        """Return the identity of a cell's run."""
        return names.cell_identity(cell, self._digest(cell), self.numerics, self.torch)

    def begin(self, cells: Iterable[Cell], fingerprints: Iterable[str] = ()) -> None:
        """Create the runs of cells that the store lacks, in this order: MLflow's nested table is ordered by date.

        `fingerprints`: those of trainings to come.
        """
        self._known.expected.update(fingerprints)
        with self._turn():
            for cell in cells:
                self._cell_run(cell)

    def sync_train(self, cell: Cell, config: RunConfig, folder: RunFolder) -> str:
        """Bring the MLflow run of a training up to date with its folder (RUNNING until it is complete); return its id.

        A training that another cell or study has finished becomes a run of its own with the original's models.
        """
        status = folder.status() if folder.is_complete() else None
        with self._turn():
            parent = self._cell_run(cell)
            run = self._look_up("train", cell, folder.fingerprint)
            if half_done := run is not None:
                if not run.finished:
                    self._take_over(run)
                self._set_tag(run, names.PARENT, parent.run_id)
                if run.finished and (status is None or self._holds_all(run, status)):
                    if status and names.NOTE not in run.tags:  # an earlier version had none
                        self._set_tag(run, names.NOTE, content.training_note(config, folder.metrics(), status))
                    return run.run_id
                if status and (half_done := not run.made):
                    run = self._known.remember(self.reader.whole(run.run_id))
            else:
                tags = {names.PARENT: parent.run_id, names.FINGERPRINT: folder.fingerprint}
                if status:
                    tags |= content.training_tags(status)
                    tags[names.NOTE] = content.training_note(config, folder.metrics(), status)
                    if original := self._known.original(folder.fingerprint, self.digests.values()):
                        tags[names.REUSED_FROM] = original.run_id
                run = self._create("train", cell, names.train_name(cell, config.seeds), tags)
            if status:
                run.made = False  # a model may be half there, if this is cut off
            self._log_rows(cell, run, config, folder, status)
            if status is None:
                if run.status != "RUNNING":
                    self.client.update_run(run.run_id, status="RUNNING")
                    run.status = "RUNNING"
                return run.run_id
            self._complete(cell, run, folder, status, half_done)
            self._written.add(run.run_id)
            return self._finish(run)

    def sync_live(self, cell: Cell, config: RunConfig, folder: RunFolder, every: float = 20.0) -> None:
        """Sync a run in training, at most once in `every` seconds; one that ends sooner appears only when complete."""
        now = time.monotonic()
        if now - self._live.setdefault(folder.fingerprint, now) >= every:
            self.sync_train(cell, config, folder)
            self._live[folder.fingerprint] = time.monotonic()

    def runs(self, cell: Cell, fingerprints: Sequence[str]) -> dict[str, TrackedRun]:
        """Return the finished trainings among these that MLflow holds for a cell, by fingerprint."""
        with one_line_errors(self.store.uri):
            found = {fingerprint: self._look_up("train", cell, fingerprint) for fingerprint in fingerprints}
            # No models: of a reused one whose original was deleted.
            return {
                fingerprint: self.reader.tracked(run, self._known.owner(run) or replace(run, models={}))
                for fingerprint, run in found.items()
                if run is not None and run.finished
            }

    def checkpoint(self, run: TrackedRun, epoch: float) -> Checkpoint:
        """Return the weights that MLflow holds; LmcError naming the file unless they have the recorded sha256."""
        return self.reader.checkpoint(run, epoch)

    def log_pair(
        self, cell: Cell, pair_key: str, result: PairResult, figures: Callable[[], Mapping[str, bytes]]
    ) -> str:
        """Log a pair once, as a finished run, and return its id; replace one that differs or was cut off.

        The old run goes to MLflow's trash: neither points nor parameters can be deleted. `figures` (name -> bytes)
        is called only if the run is made.
        """
        from mlflow.entities import LoggedModelInput

        points, tables = list(content.pair_points(result)), content.pair_tables(result)
        more = {name.removesuffix(".json"): table.decode() for name, table in tables.items() if name != TABLE}
        with self._turn():
            models = self._endpoints(cell, result)
            tags = {names.PAIR_KEY: pair_key, **content.pair_tags(result)}
            tags |= {names.WEIGHTS: names.NOT_KEPT} if len(models) < 2 else {}
            tags[names.CONTENT] = content.digest(points, tags, more)
            parent = self._cell_run(cell)
            run = self._look_up("pair", cell, pair_key)
            if run is not None and run.finished and run.tags.get(names.CONTENT) == tags[names.CONTENT]:
                self._set_tag(run, names.PARENT, parent.run_id)  # the one it was made for may be gone
                self._set_tag(run, names.NOTE, run.tags.get(names.NOTE) or content.pair_note(result))  # earlier: none
                return run.run_id
            if run is not None:
                self.client.delete_run(run.run_id)
                del self._known.runs["pair", self.cell_id(cell), pair_key]
            tags |= {
                names.NOTE: content.pair_note(result),
                names.PARENT: parent.run_id,
                names.ARTIFACT_VIEWS: json.dumps([{"path": name, "type": "table"} for name in tables]),
            }
            run = self._create("pair", cell, names.pair_name(cell, result.pair), tags)
            self._log(run, points, {**content.run_params(self.plan, cell), **content.pair_params(cell, result)}, {})
            self._put(run, {**tables, **figures()})
            if models:
                self.client.log_inputs(run.run_id, models=[LoggedModelInput(model) for model in dict.fromkeys(models)])
            return self._finish(run)

    def finish_cell(self, cell: Cell, result: CellResult, files: Callable[[], Mapping[str, bytes]] = dict) -> str:
        """Log the summary of a cell beside the paper's numbers, mark its run as finished and return its id.

        Nothing is logged twice; `files` (name -> bytes) is called only if something is. A number in the store but not
        in the result (no longer judged, or an earlier version's name) becomes NaN: MLflow deletes no metric.
        """
        points = list(content.cell_points(result, cell.paper))
        tags = {**content.cell_tags(self.plan, cell, result), names.NOTE: content.cell_note(cell, result)}
        tags[names.CONTENT] = content.digest(points, tags, {})
        with self._turn():
            run = self._cell_run(cell)
            if run.tags.get(names.CONTENT) != tags[names.CONTENT]:
                if not run.made:
                    run = self._known.remember(self.reader.whole(run.run_id))
                run.made = False
                self._put(run, files())
                logged = [(name, m) for name in run.metrics for m in self.client.get_metric_history(run.run_id, name)]
                shown = {(name, m.step): m.value for name, m in sorted(logged, key=lambda found: found[1].timestamp)}
                gone = shown.keys() - {(p.name, p.step) for p in points}
                new = [Point(name, math.nan, step) for name, step in gone if not math.isnan(shown[name, step])]
                new += [p for p in points if shown.get((p.name, p.step)) != p.value]
                params = content.run_params(self.plan, cell) | content.cell_params(cell)
                params = {name: value for name, value in params.items() if name not in run.params}
                # MLflow shows the latest: these are, even if the clock was set back since the others.
                self._log(run, new, params, tags, after=max((m.timestamp for _, m in logged), default=0))
                self._written.add(run.run_id)
            return self._finish(run)

    def link_project_run(self, cells: Sequence[Cell]) -> str | None:
        """Link the MLflow project's run that started us, if any, to these cells.

        Returns one line that names anything missing, else None.
        """
        if self.project_run is None:
            return None
        with self._turn():
            runs = [self._look_up("cell", cell, self.cell_id(cell), again=True) for cell in cells]
            return link_cells(self.reader, self.project_run, self.plan.study, runs)

    def wrote(self, run_id: str) -> bool:
        """Return whether this process created or completed the run."""
        return run_id in self._written

    def run_ids(self) -> dict[str, str]:
        """Return where the runs are: `uri`, `experiment_id` and `experiment`."""
        experiment = self.store.experiment
        return {"uri": self.store.uri, "experiment_id": experiment.experiment_id, "experiment": experiment.name}

    def settle(self) -> None:
        """Keep one of each run that another folder finished too, in a store that several folders share."""
        if self._settled:
            return
        with self._turn():
            self._look()
        self._written &= {run.run_id for run in self._known.runs.values()}
        self._settled = True

    def close(self) -> None:
        """Settle, and mark trainings that this process began and did not finish as killed."""
        self.settle()
        with one_line_errors(self.store.uri):
            for (kind, _, _), run in self._known.runs.items():
                if kind == "train" and run.status == "RUNNING" and run.tags.get(names.PROCESS) == this_process():
                    self.client.set_terminated(run.run_id, "KILLED")
                    run.status = "KILLED"
            self.store.close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(Exception) if exception[0] else nullcontext():  # raising a second error would hide the first
            self.close()

    def _look_up(self, kind: Kind, cell: Cell, key: str, again: bool = False) -> StoredRun | None:
        """Return a run by its identity; the caller that makes one if there is none holds the store's lock."""
        return self._known.find((kind, self.cell_id(cell), key), again)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the store's lock; what we know is as the store has it unless another process had it in between."""
        with self.store.locked() as again:
            self._known.alone &= again
            yield

    def _look(self) -> None:
        """Read the runs of all cells; the caller has the turn."""
        cells = {self.cell_id(cell) for cell in self.plan.cells if cell.config["data"]["dataset"] in self.digests}
        self._known.take({names.CELL_ID: cells})
        self._known.alone = True

    def _digest(self, cell: Cell) -> str:
        return self.digests[cell.config["data"]["dataset"]]

    def _create(self, kind: Kind, cell: Cell, name: str, tags: Mapping[str, str]) -> StoredRun:
        """Create a run with all its tags at once; the caller holds the store's lock and has looked it up."""
        shared = {
            names.KIND: kind,
            names.STUDY: self.plan.study,
            names.PROFILE: self.plan.profile,
            names.CELL: cell.key,
            names.ROW: cell.row,
            names.COLUMN: cell.column,
            names.CELL_ID: self.cell_id(cell),
            "mlflow.source.name": "lmc",
            names.COLOUR: names.cell_colour(self.plan, cell),
            names.DIGEST: self._digest(cell),
            names.NUMERICS: self.numerics,
            **content.versions(),
            names.TORCH: self.torch,
            **content.git_commit(self.project.root),
            names.PROCESS: this_process(),
            **({names.WRITER: self.store.writer} if self.store.writer else {}),
        }
        made = self.client.create_run(self.store.experiment.experiment_id, tags={**shared, **tags}, run_name=name)
        return self._known.remember(replace(StoredRun.of(made), logged=set(), made=True))

    def _log(
        self,
        run: StoredRun,
        points: Sequence[Point],
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        after: int = 0,
    ) -> None:
        """Log everything in as few calls as the limits of MLflow allow, at a time (ms) later than `after`."""
        from mlflow.entities import Metric, Param, RunTag

        now = max(time.time_ns() // 1_000_000, after + 1)
        metrics = [Metric(p.name, p.value, now, p.step) for p in points]
        rest = [Param(name, content.text(v)) for name, v in params.items()], [RunTag(*tag) for tag in tags.items()]
        self.client.log_batch(run.run_id, metrics[:CHUNK], *rest)
        for i in range(CHUNK, len(metrics), CHUNK):
            self.client.log_batch(run.run_id, metrics[i : i + CHUNK])
        run.params.update({name: content.text(value) for name, value in params.items()})
        run.tags.update(tags)

    def _put(self, run: StoredRun, files: Mapping[str, bytes], packed: bool = False) -> None:
        artifacts.put(artifacts.place_of(run.run_id, run.artifact_uri), files, self.store.uri, packed)

    def _set_tag(self, run: StoredRun, name: str, value: str) -> bool:
        """Set a tag that the run has not, or not so; return whether it was set."""
        if different := run.tags.get(name) != value:
            self.client.set_tag(run.run_id, name, value)
            run.tags[name] = value
        return different

    def _finish(self, run: StoredRun) -> str:
        if not run.finished:
            end = run.start_ms if run.kind == "cell" else None  # a cell only waits: it has no duration of its own
            self.client.set_terminated(run.run_id, "FINISHED", end_time=end)
            run.status = "FINISHED"
            self._written.add(run.run_id)
            self._settled = self.store.writer is None
        return run.run_id

    def _cell_run(self, cell: Cell) -> StoredRun:
        """Return the cell's run, creating it if the store has none; the caller has the turn."""
        if known := self._look_up("cell", cell, self.cell_id(cell)):
            return known
        tags = {names.PROJECT_RUN: self.project_run} if self.project_run else {}
        run = self._create("cell", cell, names.cell_name(cell), tags)
        self._log(run, [], content.run_params(self.plan, cell) | content.cell_params(cell), {})
        return run

    def _take_over(self, run: StoredRun) -> None:
        """Take over a run that another process has begun or resumed; ask the store again for its points."""
        if self._set_tag(run, names.PROCESS, this_process()):
            run.logged, run.made = None, False

    def _holds_all(self, run: StoredRun, status: dict[str, Any]) -> bool:
        """Whether the last checkpoint is a logged model of the run, or of the one it was reused from: it was put last.

        A run that came without its weights has none to hold, until they come.
        """
        if names.WEIGHTS in run.tags and "kept" not in status:
            return False
        owner, last = self._known.owner(run), max(map(parse_epoch, status["checkpoints"]))
        return owner is not None and (last in owner.models or last not in kept_epochs(status))

    def _log_rows(
        self, cell: Cell, run: StoredRun, config: RunConfig, folder: RunFolder, status: dict[str, Any] | None
    ) -> None:
        """Log the parameters, tags and points that the store has not: its history only grows."""
        if (logged := run.logged) is None:
            stored = self.reader.history(run, (*METRICS, DISTANCE))
            logged = {(name, step) for name, points in stored.items() for step, _ in points}
        rows = folder.metrics()
        points = content.training_points(rows)
        if status and (DISTANCE, config.epochs) not in logged:
            points += content.finite([(DISTANCE, distance(folder, status, config.epochs), config.epochs)])
        points = [point for point in points if (point.name, point.step) not in logged]
        params = {} if run.params else content.run_params(self.plan, cell, config)
        tags = {name: v for name, v in content.training_tags(status).items() if run.tags.get(name) != v}
        if status and names.NOTE not in run.tags:
            tags[names.NOTE] = content.training_note(config, rows, status)
        if points or params or tags:
            self._log(run, points, params, tags)
        run.logged = logged | {(point.name, point.step) for point in points}

    def _complete(self, cell: Cell, run: StoredRun, folder: RunFolder, status: dict[str, Any], half_done: bool) -> None:
        """Publish the parts that only a complete folder has. Each step can be repeated after a crash."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput

        client = self.client
        files = {name: (folder.path / name).read_bytes() for name in artifacts.FILES}
        owner = self._known.owner(run) if self._holds_all(run, status) else None
        weights = {} if owner else kept_weights(folder, status)
        last = max(weights, default=None)
        for epoch in weights.keys() - {last}:
            files[f"{artifacts.CHECKPOINTS}/{checkpoint_name(epoch)}"] = weights[epoch].content
        # The model comes after the other files: where it is ready, they are whole.
        self._put(run, dict(sorted(files.items())), packed=True)
        if last is not None:
            sha256 = status["checkpoints"][epoch_text(last)]
            model = publish_model(self.reader, run, last, weights[last], sha256, folder.fingerprint, half_done)
            if last not in run.models:
                client.log_outputs(run.run_id, [LoggedModelOutput(model, int(last))])
                run.models[last] = model
        if owner is None:
            if run.tags.pop(names.REUSED_FROM, None):
                client.delete_tag(run.run_id, names.REUSED_FROM)
            owner = run
        if names.WEIGHTS in run.tags and names.WEIGHTS not in content.training_tags(status):
            client.delete_tag(run.run_id, names.WEIGHTS)
        inputs = [] if owner is run else [model for model in owner.models.values() if model not in run.inputs]
        name = cell.config["data"]["dataset"]
        source = json.dumps({"uri": folder_of(self.project.prepared, name).as_uri()})
        data = Dataset(name=short_name(name), digest=self._digest(cell)[:36], source_type="local", source=source)
        used = DatasetInput(data, [InputTag("mlflow.data.context", "training")])
        insist(client.log_inputs, run.run_id, datasets=[used], models=[LoggedModelInput(model) for model in inputs])

    def _endpoints(self, cell: Cell, result: PairResult) -> list[str]:
        """Return the logged models of the two networks at the ends of the path, as far as the store has their weights.

        An earlier epoch's is made where there is none.
        """
        models = []
        for fingerprint, epoch in zip(result.fingerprints, ends_at(result.epochs, result.final.epoch), strict=True):
            end = self._look_up("train", cell, fingerprint)
            if end is None or (owner := self._known.owner(end)) is None:
                continue
            model = owner.models.get(epoch)
            if model is None and result.epochs != COMMON:
                model = publish_earlier(self.reader, self.reader.tracked(end, owner), epoch)
            models += [] if model is None else [model]
        return models
