"""The runs of an experiment by identity; of those that two project folders made of one identity, one is kept.

Folders that share a store share no lock. None completes a run that another began: it makes its own. Whoever has
finished some looks for others that are finished, and the earliest is kept. Nobody deletes that one, so that no order of
events loses all; the last to look sees every other, so that one remains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
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
    alone: bool = False
    """No other process of our folder has written since we looked."""

    runs: dict[Identity, StoredRun] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    """Fingerprints of trainings to come."""

    _elsewhere: dict[str, list[StoredRun]] = field(default_factory=dict)  # trainings of any study, by fingerprint
    _originals: dict[str, StoredRun | None] = field(default_factory=dict)  # by id

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
        """Return the run of an identity; the store is asked for one that others may have made, or always with `again`.

        Another folder's is found late, by `take`.
        """
        known = self.runs.get(name)
        if again or not (self.alone or (known and known.finished)):
            kind, cell_id, key = name
            self.runs.pop(name, None)
            self.take({names.KEY_TAG[kind]: key, names.CELL_ID: cell_id, names.KIND: kind})
        return self.runs.get(name)

    def original(self, fingerprint: str, digests: Collection[str]) -> StoredRun | None:
        """Return a finished training with this fingerprint, of any cell or study, that holds its own checkpoints.

        Args:
            fingerprint: The training's. Those `expected` are looked for with it, in one question.
            digests: Of the data sets of all of them.
        """
        mine = [run for (kind, _, key), run in self.runs.items() if kind == "train" and key == fingerprint]
        if (found := _holder(mine)) is None:
            if not (self.alone and fingerprint in self._elsewhere):
                asked = {fingerprint} | (self.expected if self.alone else set())
                wanted = {names.FINGERPRINT: asked, names.KIND: "train", names.DIGEST: set(digests)}
                self._elsewhere = {name: [] for name in asked}
                for run in self.reader.runs(wanted):
                    self._elsewhere[run.tags[names.FINGERPRINT]].append(run)
            found = _holder(self._elsewhere[fingerprint])
        if found is not None:
            self._originals[found.run_id] = found
        return found

    def owner(self, run: StoredRun) -> StoredRun | None:
        """Return the run that holds a training's checkpoints: its own, or a reused one's original (None if gone)."""
        if (wanted := run.tags.get(names.REUSED_FROM)) is None:
            return run
        if wanted not in self._originals:
            asked = {r.tags[names.REUSED_FROM] for r in self.runs.values() if names.REUSED_FROM in r.tags} | {wanted}
            found = {run.run_id: run for run in self.reader.runs({}, ids=asked)}
            self._originals |= {run_id: found.get(run_id) for run_id in asked}
        return self._originals[wanted]

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


def _holder(runs: Iterable[StoredRun]) -> StoredRun | None:
    """Return the first finished training that holds its own checkpoints."""
    return next((run for run in runs if run.finished and run.models and names.REUSED_FROM not in run.tags), None)


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
