"""The one object through which the commands write to MLflow and read from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmc_repro.tracking.tracked import TrackedRun

if TYPE_CHECKING:
    from lmc_repro.barriers.results import CellResult, PairResult
    from lmc_repro.project import Project
    from lmc_repro.schemas.plan import Cell, StudyPlan
    from lmc_repro.schemas.run import RunConfig
    from lmc_repro.tracking.context import Context
    from lmc_repro.training.checkpoint import Checkpoint
    from lmc_repro.training.run_folder import RunFolder


class Tracker:
    """A study's runs in MLflow. mlflow is imported when one is opened, not before; no run is ever "active".

    Every method may be repeated: what the store holds is not logged again, and what was cut off is completed. A store
    that cannot be read or reached raises LmcError.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._live: dict[str, float] = {}

    @classmethod
    def open(
        cls, project: Project, plan: StudyPlan, digests: Mapping[str, str], numerics: str, torch: str | None = None
    ) -> Tracker:
        """Open the project's store, or that of MLFLOW_TRACKING_URI, and the experiment of the study.

        `digests` gives the data digest of each data set of the plan; `numerics` and `torch` (default: the installed
        version) are those of the fingerprints.
        """
        from lmc_repro.numerics import torch_version
        from lmc_repro.tracking.context import Context
        from lmc_repro.tracking.environment import take_project_run
        from lmc_repro.tracking.failures import one_line_errors
        from lmc_repro.tracking.identity import cell_identity
        from lmc_repro.tracking.index import Index
        from lmc_repro.tracking.notes import experiment_note
        from lmc_repro.tracking.store import open_store

        project_run = take_project_run()
        store = open_store(project, plan, experiment_note(plan))
        torch = torch or torch_version()
        data = [(cell, digests.get(cell.config["data"]["dataset"])) for cell in plan.cells]
        cells = {cell_identity(cell, digest, numerics, torch) for cell, digest in data if digest is not None}
        with one_line_errors(store.uri):
            index = Index(store.client, store.experiment.experiment_id, store.glance, cells)
        return cls(Context(project, plan, digests, numerics, project_run, store, index, torch))

    def sync_train(self, cell: Cell, config: RunConfig, folder: RunFolder) -> str:
        """Bring the MLflow run of a training up to what its folder holds, and return its id.

        While the folder is not complete the run gets new points and stays RUNNING; then its checkpoints become logged
        models and it is FINISHED. A training that another cell or study has finished becomes a run of its own that
        points to the original's models.
        """
        from lmc_repro.tracking.trains import sync_train

        with self._errors():
            return sync_train(self._context, cell, config, folder)

    def sync_live(self, cell: Cell, config: RunConfig, folder: RunFolder, every: float = 20.0) -> None:
        """Sync a run that is training, at most once in `every` seconds; one that is sooner over is never shown half."""
        now = time.monotonic()
        if now - self._live.setdefault(folder.fingerprint, now) >= every:
            self.sync_train(cell, config, folder)
            self._live[folder.fingerprint] = time.monotonic()

    def runs(self, cell: Cell, fingerprints: Sequence[str]) -> dict[str, TrackedRun]:
        """Return the finished trainings among these that MLflow holds for a cell, by fingerprint."""
        from lmc_repro.tracking.trains import tracked_runs

        with self._errors():
            return tracked_runs(self._context, cell, fingerprints)

    def checkpoint(self, run: TrackedRun, epoch: float) -> Checkpoint:
        """Return the weights that MLflow holds; LmcError naming the file unless they have the recorded sha256."""
        from lmc_repro.tracking.models import load

        with self._errors():
            return load(self._context.store, run, epoch)

    def log_pair(
        self, cell: Cell, pair_key: str, result: PairResult, figures: Callable[[], Mapping[str, bytes]]
    ) -> str:
        """Log a pair and return its run's id; `figures` (name -> content) is called only if it is not there already."""
        from lmc_repro.tracking.pairs import log_pair

        with self._errors():
            return log_pair(self._context, cell, pair_key, result, figures)

    def finish_cell(self, cell: Cell, result: CellResult) -> str:
        """Log the summary of a cell over its pairs beside the paper's numbers, and return its run's id."""
        from lmc_repro.tracking.cells import finish_cell

        with self._errors():
            return finish_cell(self._context, cell, result)

    def link_project_run(self, cells: Sequence[Cell]) -> str | None:
        """Lead from the MLflow project's run that started us, if one did, to these cells.

        Returns one line that says what is missing, None if all is well.
        """
        from lmc_repro.tracking.project_run import link_cells

        with self._errors():
            return link_cells(self._context, cells)

    def wrote(self, run_id: str) -> bool:
        """Return whether this process completed the run, which the store had not, or not as it is."""
        return run_id in self._context.written

    def run_ids(self) -> dict[str, str]:
        """Return where the runs are: `uri`, `experiment_id` and `experiment`."""
        store = self._context.store
        return {"uri": store.uri, "experiment_id": store.experiment.experiment_id, "experiment": store.experiment.name}

    def close(self) -> None:
        """Mark trainings that this process showed as running, and did not finish, as killed; they may be resumed."""
        from lmc_repro.tracking.trains import mark_killed

        with self._errors():
            mark_killed(self._context)
            self._context.store.close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from lmc_repro.tracking.failures import one_line_errors

        with one_line_errors(self._context.store.uri):
            yield
