"""Reads runs of any store, by their ids or by study, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.errors import LmcError
from lmc_repro.files import read_json
from lmc_repro.tracking import artifacts, names
from lmc_repro.tracking.environment import database_path, import_mlflow, take_project_run, tracking_uri
from lmc_repro.tracking.failures import REBUILD, one_line_errors
from lmc_repro.tracking.index import Index
from lmc_repro.tracking.stored_run import StoredRun
from lmc_repro.tracking.survey import survey
from lmc_repro.tracking.tracked import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lmc_repro.training.checkpoint import Checkpoint

Points = list[tuple[int, float]]
"""(step, value), in the order of steps."""


class Reader:
    """An open store. Whatever it cannot find or read is an LmcError of one line."""

    def __init__(self, uri: str, client: MlflowClient) -> None:
        self.uri, self.client = uri, client

    @classmethod
    def open(cls, root: Path, uri: str | None = None) -> Reader:
        """Open the store at `uri`, default: that of MLFLOW_TRACKING_URI or the project's; LmcError if there is none."""
        take_project_run()
        uri = tracking_uri(root, uri)
        if (database := database_path(uri)) and survey(uri) is None:
            raise LmcError(f"{database}: no MLflow store; run `dvc repro`, or name another with MLFLOW_TRACKING_URI")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; by default minutes
        import_mlflow(uri)
        from mlflow import MlflowClient

        with one_line_errors(uri):
            return cls(uri, MlflowClient(tracking_uri=uri))

    def run(self, run_id: str) -> StoredRun:
        """Return the run with this id."""
        from mlflow.exceptions import MlflowException

        try:
            with one_line_errors(self.uri):
                return StoredRun.of(self.client.get_run(run_id))
        except MlflowException as error:
            said = " ".join(str(error).split())[:200]
            raise LmcError(f"{self.uri}: run {run_id!r}: {said}; `lmc list STUDY` prints the ids") from None

    def study(self, study: str, profile: str) -> Index | None:
        """Return all runs of a study under a profile, None if the store has no such experiment."""
        name = f"{names.EXPERIMENT_PREFIX}{study}/{profile}"
        with one_line_errors(self.uri):
            experiment = self.client.get_experiment_by_name(name)
            return None if experiment is None else Index(self.client, experiment.experiment_id)

    def siblings(self, run: StoredRun) -> list[StoredRun]:
        """Return the runs below a cell's run, or beside a training or a pair, oldest first."""
        parent = run.tags.get(names.PARENT, run.run_id)
        with one_line_errors(self.uri):
            found = self.client.search_runs(
                [run.experiment_id],
                f"tags.`{names.PARENT}` = '{parent}'",
                order_by=["attributes.start_time ASC"],
                max_results=1000,
            )
            return [StoredRun.of(run) for run in found]

    def history(self, run: StoredRun, metrics: Iterable[str]) -> dict[str, Points]:
        """Return all points of those metrics that the run has; of two at one step the later."""
        found: dict[str, Points] = {}
        with one_line_errors(self.uri):
            for name in metrics:
                if name in run.metrics:
                    logged = self.client.get_metric_history(run.run_id, name)
                    last = {point.step: point.value for point in sorted(logged, key=lambda point: point.timestamp)}
                    found[name] = sorted(last.items())
        return found

    def json_artifact(self, run: StoredRun, name: str) -> Any:
        """Return a JSON file of the run's artifacts."""
        fix = f"run {run.run_id} of {self.uri} lacks it: is it a finished training of this project?"
        with one_line_errors(self.uri), artifacts.scratch(run.artifact_uri) as folder:
            return read_json(artifacts.get(run.artifact_uri, name, self.uri, folder), fix)

    def artifact(self, run: StoredRun, name: str) -> tuple[str, bytes]:
        """Return where a file of the run's artifacts lies, and its bytes; LmcError if it is not there."""
        with one_line_errors(self.uri), artifacts.scratch(run.artifact_uri) as folder:
            path = artifacts.get(run.artifact_uri, name, self.uri, folder)
            place = str(path) if artifacts.local_path(run.artifact_uri) else f"{run.artifact_uri}/{name}"
            try:
                return place, path.read_bytes()
            except OSError as error:
                raise LmcError(f"{place}: cannot be read ({error.strerror}); {REBUILD}") from None

    def tracked(self, run: StoredRun) -> TrackedRun:
        """Return a finished training with its status and where its checkpoints are, which may be another run."""
        owner = run
        if original := run.tags.get(names.REUSED_FROM):
            owner = self.run(original)
        with one_line_errors(self.uri):
            experiment = self.client.get_experiment(owner.experiment_id)
        return TrackedRun(
            run_id=run.run_id,
            fingerprint=run.tags[names.FINGERPRINT],
            params=run.params,
            tags=run.tags,
            status=self.json_artifact(run, "status.json"),
            models=owner.models,
            artifact_uri=owner.artifact_uri,
            location=experiment.artifact_location.rstrip("/"),
        )

    def stored_checkpoint(self, run: TrackedRun, mark: float) -> tuple[Path, bytes]:
        """Return the file of a mark's weights and its bytes as they are, whatever was recorded of them."""
        from lmc_repro.tracking.models import read_stored

        with one_line_errors(self.uri):
            return read_stored(self, run, mark)

    def checkpoint(self, run: TrackedRun, epoch: float) -> Checkpoint:
        """Return the weights of a run at an epoch, with the recorded sha256."""
        from lmc_repro.tracking.models import load

        with one_line_errors(self.uri):
            return load(self, run, epoch)
