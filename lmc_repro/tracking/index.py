"""What the store holds of a study, or of cells of it: loaded at once, so that finished work costs no search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmc_repro.tracking.names import (
    CELL_ID,
    EXPERIMENT_PREFIX,
    FINGERPRINT,
    KEY_TAG,
    KIND,
    PROJECT_RUN,
    REUSED_FROM,
    Kind,
)
from lmc_repro.tracking.stored_run import StoredRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lmc_repro.tracking.glance import Glance

PAGE = 1000


class Index:
    """The runs of one experiment by kind, cell and key, and finished trainings of every experiment of ours.

    `cells` are the identities of the cells that are asked for, by default all: where `glance` can read the store's
    file, only their runs are loaded, from there. It also tells, in less time than a search, of some runs that the store
    has none of them.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, glance: Glance | None = None, cells: set[str] | None = None
    ) -> None:
        self.client, self.experiment_id, self.glance = client, experiment_id, glance
        self._runs: dict[tuple[str, str, str], StoredRun] = {}
        self._others: list[str] | None = None
        for run in self._load(cells):
            self.add(run)

    def _load(self, cells: set[str] | None) -> list[StoredRun]:
        found = None if self.glance is None or cells is None else self.glance.runs_of(self.experiment_id, cells)
        return self._search([self.experiment_id], f"tags.`{KIND}` LIKE '%'") if found is None else found

    def _may_hold(self, tag: str, value: str) -> bool:
        return self.glance is None or self.glance.may_hold(tag, value)

    def add(self, run: StoredRun) -> StoredRun:
        """Remember a run; of two with one key, a finished one wins."""
        kind = run.tags.get(KIND, "")
        if kind in KEY_TAG:
            key = (kind, run.tags.get(CELL_ID, ""), run.tags.get(KEY_TAG[kind], ""))
            if key not in self._runs or not self._runs[key].finished or run.finished:
                self._runs[key] = run
        return run

    def get(self, kind: Kind, cell_id: str, key: str) -> StoredRun | None:
        """Return the run as last seen, without asking the store."""
        return self._runs.get((kind, cell_id, key))

    def look_up(self, kind: Kind, cell_id: str, key: str) -> StoredRun | None:
        """Return the run from memory if it is finished, else from the store, where another process may have put it."""
        known = self.get(kind, cell_id, key)
        if (known is not None and known.finished) or not self._may_hold(KEY_TAG[kind], key):
            return known
        query = f"tags.`{KIND}` = '{kind}' and tags.`{CELL_ID}` = '{cell_id}'"
        if kind != "cell":
            query += f" and tags.`{KEY_TAG[kind]}` = '{key}'"
        for run in self._search([self.experiment_id], query):
            self.add(run)
        return self.get(kind, cell_id, key)

    def of_kind(self, kind: Kind) -> list[StoredRun]:
        """Return the runs of a kind, oldest first."""
        return [run for (known, _, _), run in self._runs.items() if known == kind]

    def running(self, kind: Kind) -> list[StoredRun]:
        """Return the runs of a kind that count as running."""
        return [run for (known, _, _), run in self._runs.items() if known == kind and run.status == "RUNNING"]

    def forget(self, kind: Kind, cell_id: str, key: str) -> None:
        self._runs.pop((kind, cell_id, key), None)

    def original(self, fingerprint: str) -> StoredRun | None:
        """Return a finished training with this fingerprint, of any cell or study, that holds its own checkpoints."""
        known = [run for (kind, _, key), run in self._runs.items() if kind == "train" and key == fingerprint]
        if (found := _original(known)) is not None or not self._may_hold(FINGERPRINT, fingerprint):
            return found
        query = f"tags.`{KIND}` = 'train' and tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'FINISHED'"
        return _original(self._search([self.experiment_id, *self.others], query))

    def originals(self, run_ids: set[str]) -> dict[str, StoredRun]:
        """Return those of these runs that are still there."""
        wanted, found = sorted(run_ids), []
        for start in range(0, len(wanted), PAGE):
            ids = ", ".join(repr(run_id) for run_id in wanted[start : start + PAGE])
            found += self._search([self.experiment_id, *self.others], f"attributes.run_id IN ({ids})")
        return {run.run_id: run for run in found}

    def reused_from(self) -> set[str]:
        """Return the ids of the originals that trainings of this experiment point to."""
        return {run.tags[REUSED_FROM] for run in self._runs.values() if REUSED_FROM in run.tags}

    def of_project_run(self, project_run: str) -> list[StoredRun]:
        """Return the finished cells of all studies that carry this run of the MLflow project."""
        query = f"tags.`{KIND}` = 'cell' and tags.`{PROJECT_RUN}` = '{project_run}' and attributes.status = 'FINISHED'"
        return self._search([self.experiment_id, *self.others], query)

    @property
    def others(self) -> list[str]:
        """The ids of our other experiments."""
        if self._others is None:
            found = self.client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT_PREFIX}%'")
            self._others = [e.experiment_id for e in found if e.experiment_id != self.experiment_id]
        return self._others

    def _search(self, experiments: list[str], query: str) -> list[StoredRun]:
        runs: list[StoredRun] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                experiments, query, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
            )
            runs += [StoredRun.of(run) for run in page]
            if not (token := page.token):
                return runs


def _original(runs: Sequence[StoredRun]) -> StoredRun | None:
    """Return the first finished training that holds its own checkpoints."""
    return next((run for run in runs if run.finished and run.models and REUSED_FROM not in run.tags), None)
