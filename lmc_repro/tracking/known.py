"""The runs of an experiment by identity; of those that two project folders made of one identity, one is kept.

Folders that share a store share no lock. None completes a run that another began: it makes its own. Whoever finishes
one looks for others that are finished, and the earliest is kept. Nobody deletes that one, so that no order of events
loses all; the last to finish sees every other, so that one remains.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lmc_repro.tracking import names
from lmc_repro.tracking.find import Reader, StoredRun, Wanted

Identity = tuple[str, str, str]
"""Kind, cell's identity, own key."""


@dataclass
class KnownRuns:
    """The runs that we may complete, and finished ones, as last seen; whoever asks for more holds the store's lock."""

    reader: Reader
    experiment_id: str
    writer: str | None
    runs: dict[Identity, StoredRun] = field(default_factory=dict)

    def remember(self, run: StoredRun) -> StoredRun:
        """Keep a run by its identity, unless another folder is at it; of two, a finished one wins."""
        key = names.identity_of(run.tags)
        known = self.runs.get(key) if key else None
        if key and (run.finished or (self._ours(run) and not (known and known.finished))):
            self.runs[key] = run
        return run

    def take(self, wanted: Wanted) -> None:
        """Keep the store's runs with these tags, and delete those that give way to another."""
        same: dict[Identity, list[StoredRun]] = {}
        for run in self.reader.runs(wanted, [self.experiment_id]):
            if key := names.identity_of(run.tags):
                same.setdefault(key, []).append(run)
        for key, found in same.items():
            self.runs.pop(key, None)
            for run in found if self.writer is None else self._remaining(found):
                self.remember(run)

    def find(self, name: Identity, again: bool = False) -> StoredRun | None:
        """Return the run of an identity; `again` asks the store even where a finished one is known."""
        if again or (known := self.runs.get(name)) is None or not known.finished:
            kind, cell_id, key = name
            self.runs.pop(name, None)
            self.take({names.KEY_TAG[kind]: key, names.CELL_ID: cell_id, names.KIND: kind})
        return self.runs.get(name)

    def _ours(self, run: StoredRun) -> bool:
        """Return whether our folder may complete the run: one without a writer is an earlier version's."""
        return self.writer is None or run.tags.get(names.WRITER, self.writer) == self.writer

    def _remaining(self, same: list[StoredRun]) -> list[StoredRun]:
        """Return those of one identity that stay, and delete the others: finished ones, and ours that are not."""
        finished = sorted((run for run in same if run.finished), key=lambda run: (run.start_ms or 0, run.run_id))
        losers = [run for run in same if finished and run is not finished[0] and (run.finished or self._ours(run))]
        for loser in losers:
            _give_way(self.reader, loser, finished[0])
        return [run for run in same if run not in losers]


def _give_way(reader: Reader, loser: StoredRun, kept: StoredRun) -> None:
    """Move a run with its models to MLflow's trash, and the runs below it to the one that is kept."""
    client, experiments = reader.client, [loser.experiment_id]
    for run in reader.runs({names.PARENT: loser.run_id}, experiments):
        with _unless_gone():
            client.set_tag(run.run_id, names.PARENT, kept.run_id)
    for model in client.search_logged_models(experiments, filter_string=f"source_run_id = '{loser.run_id}'"):
        with _unless_gone():
            client.delete_logged_model(model.model_id)
    with _unless_gone():
        client.delete_run(loser.run_id)


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Go on where another folder was faster."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
