"""A study's runs in MLflow against its files: trainings and their checkpoints, pairs, cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.compare.pair import pair_key
from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes
from lmc_repro.schemas.base import parse_mark
from lmc_repro.studies.workspace import Listener
from lmc_repro.tracking import names
from lmc_repro.tracking.cells import cell_points
from lmc_repro.tracking.failures import REBUILD
from lmc_repro.tracking.pairs import TABLE, pair_points, path_table
from lmc_repro.tracking.reader import Reader
from lmc_repro.tracking.stored_run import StoredRun
from lmc_repro.tracking.tracked import TrackedRun
from lmc_repro.tracking.trains import METRICS, training_points
from lmc_repro.verification.points import Points, by_step, first_difference, stored_points
from lmc_repro.verification.results import Results
from lmc_repro.verification.tally import Tally

CURVES = ("path/", "barrier_over_training/")
"""Metrics with many steps; of the others the last value is known without another call."""


class StoredStudy:
    """The finished runs that MLflow holds of a study, by what the results name them by."""

    def __init__(self, reader: Reader, results: Results) -> None:
        self.reader, self.results = reader, results
        study, profile = str(results.runs["study"]), str(results.runs["profile"])
        index = reader.study(study, profile)
        if index is None:
            raise LmcError(f"{reader.uri}: has no experiment lmc/{study}/{profile}; {results.place.fix}")
        self._trainings: dict[tuple[str, str], StoredRun] = {}
        self._pairs: dict[tuple[str, ...], list[StoredRun]] = {}
        mine = [run for kind in names.KEY_TAG for run in index.of_kind(kind) if self._is_of_results(run)]
        self._cells = {run.run_id: run for run in mine if run.tags[names.KIND] == "cell"}
        for run in mine:
            cell = run.tags[names.CELL]
            if run.tags[names.KIND] == "train":
                self._trainings[cell, run.tags[names.FINGERPRINT]] = run
            elif run.tags[names.KIND] == "pair":
                ends = (run.tags["lmc.fingerprint_0"], run.tags["lmc.fingerprint_1"])
                self._pairs.setdefault((cell, run.tags["lmc.pair"], *ends), []).append(run)
        self._tracked: dict[str, TrackedRun] = {}

    def _is_of_results(self, run: StoredRun) -> bool:
        return run.finished and run.tags.get("lmc.numerics") == self.results.runs["numerics"]

    def train(self, cell: str, fingerprint: str) -> StoredRun | None:
        return self._trainings.get((cell, fingerprint))

    def pair(self, cell: str, pair: Mapping[str, Any]) -> StoredRun | None:
        """Return a pair's run; of several, with other numbers of points, the one with that of the results."""
        first, second = pair["fingerprints"]
        found = self._pairs.get((cell, pair["pair"], first, second), [])
        key = pair_key((first, second), self.results.runs["points"], self.results.runs["numerics"])
        return next((run for run in found if run.tags.get(names.PAIR_KEY) == key), found[-1] if found else None)

    def cell(self, pair: StoredRun | None) -> StoredRun | None:
        """Return the run of the cell that a pair's run is below."""
        return None if pair is None else self._cells.get(pair.tags.get(names.PARENT, ""))

    def tracked(self, run: StoredRun) -> TrackedRun:
        """Return a training with its status and where its checkpoints are."""
        if run.run_id not in self._tracked:
            self._tracked[run.run_id] = self.reader.tracked(run)
        return self._tracked[run.run_id]


def check_trainings(stored: StoredStudy, whole: set[str], tally: Tally, listener: Listener) -> None:
    """Check the trainings of every cell: status, logged points, and each stored checkpoint once."""
    results, seen = stored.results, set[str]()
    wanted = {(c["cell"], fingerprint): None for c, pair in results.pairs() for fingerprint in pair["fingerprints"]}
    listener.begin(f"checking {len(wanted)} trainings in MLflow", len(wanted))
    try:
        for cell, fingerprint in wanted:
            listener.advance(1, cell)
            run = stored.train(cell, fingerprint)
            if run is None:
                told = f"no finished training {fingerprint} of cell {cell}"
                tally.add("trainings in MLflow", f"{stored.reader.uri}: {told}; {results.place.fix}")
                continue
            if fingerprint in whole:
                tally.add("trainings in MLflow", _training_problem(stored, run, fingerprint))
            try:
                tracked = stored.tracked(run)
            except LmcError as error:
                tally.add("checkpoints in MLflow", str(error))
                continue
            if (place := f"{tracked.artifact_uri} {fingerprint}") not in seen:
                seen.add(place)
                for problem in _checkpoint_problems(stored.reader, tracked):
                    tally.add("checkpoints in MLflow", problem)
    finally:
        listener.end()


def _training_problem(stored: StoredStudy, run: StoredRun, fingerprint: str) -> str | None:
    folder = stored.results.folder(fingerprint)
    for name in ("status.json", "config.json", "metrics.csv"):
        try:
            place, content = stored.reader.artifact(run, name)
        except LmcError as error:
            return str(error)
        if content != (folder.path / name).read_bytes():
            return f"{place}: other bytes than {folder.path / name}; {REBUILD}"
    expected = by_step(training_points(folder.metrics()))
    return _points_problem(run, stored_points(stored.reader, run, METRICS), expected)


def _checkpoint_problems(reader: Reader, tracked: TrackedRun) -> Iterator[str | None]:
    """Yield None or what is wrong for each mark of a training."""
    for mark, recorded in tracked.status["checkpoints"].items():
        try:
            path, content = reader.stored_checkpoint(tracked, parse_mark(mark))
        except LmcError as error:
            yield str(error)
            continue
        found = sha256_bytes(content)
        damaged = f"{path}: damaged: its sha256 is {found[:12]}, recorded {recorded[:12]}; {REBUILD}"
        yield None if found == recorded else damaged


def check_pairs(stored: StoredStudy, again: Mapping[str, CellResult], tally: Tally, listener: Listener) -> None:
    """Check the numbers that MLflow shows of pairs and cells against those worked out from curves.csv."""
    results = stored.results
    cells = [cell for cell in results.cells if cell["cell"] in again]
    listener.begin(f"checking {len(cells)} cells in MLflow", len(cells))
    try:
        for cell in cells:
            key, result = cell["cell"], again[cell["cell"]]
            runs = [stored.pair(key, pair) for pair in cell["pairs"]]
            for run, made in zip(runs, result.pairs, strict=True):
                tally.add("pairs in MLflow", _pair_problem(stored, run, key, made))
            tally.add("cells in MLflow", _cell_problem(stored, stored.cell(runs[-1]), cell, result))
            listener.advance(1, key)
    finally:
        listener.end()


def _pair_problem(stored: StoredStudy, run: StoredRun | None, cell: str, made: PairResult) -> str | None:
    if run is None:
        return f"{stored.reader.uri}: no finished pair {made.pair} of cell {cell}; {stored.results.place.fix}"
    try:
        place, content = stored.reader.artifact(run, TABLE)
    except LmcError as error:
        return str(error)
    if _json(content) != _json(path_table(made.final)):
        return f"{place}: another path than {stored.results.place.results / 'curves.csv'} has; {REBUILD}"
    return _points_problem(run, _logged(stored.reader, run), by_step(pair_points(made)))


def _cell_problem(
    stored: StoredStudy, run: StoredRun | None, cell: Mapping[str, Any], result: CellResult
) -> str | None:
    if run is None:
        return f"{stored.reader.uri}: no finished run of cell {cell['cell']}; {stored.results.place.fix}"
    return _points_problem(run, _logged(stored.reader, run), by_step(cell_points(result, cell["paper"])))


def _logged(reader: Reader, run: StoredRun) -> Points:
    """Return the numbers of a pair or a cell; NaN says that one is gone."""
    curves = [name for name in run.metrics if name.startswith(CURVES)]
    single = {(name, 0): value for name, value in run.metrics.items() if name not in curves}
    return {key: v for key, v in (single | stored_points(reader, run, curves)).items() if v == v}


def _points_problem(run: StoredRun, logged: Points, expected: Points) -> str | None:
    if (apart := first_difference(logged, expected)) is None:
        return None
    name, step, shown, made = apart
    who = f"run {run.run_id} ({run.tags.get('mlflow.runName')}) in MLflow"
    return f"{who}: {name} at step {step} is {shown}, from the files {made}; {REBUILD}"


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
