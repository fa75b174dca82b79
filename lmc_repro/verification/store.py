"""A study's runs in MLflow against its files, and its paths measured again from the weights that MLflow holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from lmc_repro.barriers.measure import measure_pair
from lmc_repro.barriers.pair import PairEnd, PairTask, pair_key, pair_task
from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.common.errors import LmcError
from lmc_repro.common.progress import part
from lmc_repro.config.plan import ends_at
from lmc_repro.engine.local import LocalEngine
from lmc_repro.pipeline.workspace import Listener
from lmc_repro.results.schema import CellRecord
from lmc_repro.tracking import names
from lmc_repro.tracking.content import TABLE, Point, cell_points, pair_points, path_table
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.run_folder import kept_marks
from lmc_repro.verification.differences import Tally, explain
from lmc_repro.verification.results import PairName, Results
from lmc_repro.verification.training import StoredTraining, logged_points, points_problem

CURVES = ("path/", "barrier_over_training/")
"""Metrics with many steps; of the others the last value is known without another call."""


class StoredStudy:
    """The finished runs that MLflow holds of a study's results; LmcError for one that it lacks."""

    def __init__(self, reader: Reader, results: Results) -> None:
        self.reader, self.results = reader, results
        study = results.study
        experiment = reader.study(study.study, study.profile)
        if experiment is None:
            raise self._lacks(f"experiment lmc/{study.study}/{study.profile}")
        self._runs: dict[tuple[str, ...], StoredRun] = {}
        found = reader.runs({names.NUMERICS: study.numerics}, [experiment.experiment_id])
        for run in (run for run in found if run.finished):
            tags = (names.CELL, "lmc.pair", "lmc.fingerprint_0", "lmc.fingerprint_1")
            cell, pair, *ends = (run.tags.get(tag, "") for tag in tags)
            if run.kind == "cell":
                self._runs["cell", run.run_id] = run
            elif run.kind == "train":
                self._runs["train", cell, run.tags.get(names.FINGERPRINT, "")] = run
            # Of several pairs, with other numbers of points or another path, the one of the results.
            elif run.kind == "pair" and (
                (key := ("pair", cell, pair, *ends)) not in self._runs or self._is_recorded(run, (cell, pair))
            ):
                self._runs[key] = run
        self._trainings: dict[str, StoredTraining] = {}

    def _is_recorded(self, run: StoredRun, name: PairName) -> bool:
        if name not in self.results.pairs:
            return False
        study, (cell, pair) = self.results.study, self.results.pairs[name]
        key = pair_key(pair.fingerprints, study.points, study.numerics, cell.path, pair.epochs)
        return run.tags.get(names.PAIR_KEY) == key

    def _lacks(self, what: str) -> LmcError:
        return LmcError(f"{self.reader.uri}: no {what}; {self.results.place.fix}")

    def training(self, cell: str, fingerprint: str) -> StoredTraining:
        if (run := self._runs.get(("train", cell, fingerprint))) is None:
            raise self._lacks(f"finished training {fingerprint} of cell {cell}")
        if run.run_id not in self._trainings:
            self._trainings[run.run_id] = StoredTraining(self.reader, run, self.reader.tracked(run))
        return self._trainings[run.run_id]

    def pair(self, name: PairName) -> StoredRun:
        run = self._runs.get(("pair", *name, *self.results.pairs[name][1].fingerprints))
        if run is None:
            raise self._lacks(f"finished pair {name[1]} of cell {name[0]}")
        return run

    def training_problem(self, training: StoredTraining) -> str | None:
        """Return one line if MLflow holds a training otherwise than its run folder."""
        folder = self.results.folder(training.run.fingerprint)
        for name in ("status.json", "config.json", "metrics.csv"):
            place, content = training.file(name)
            if content != (folder.path / name).read_bytes():
                return f"{place}: other bytes than {folder.path / name}; {REBUILD}"
        return training.shown_otherwise()

    def pair_problem(self, name: PairName, made: PairResult) -> str | None:
        """Return one line if MLflow holds another path than curves.csv, or shows other numbers than follow from it."""
        place, content = self.reader.artifact(run := self.pair(name), TABLE)
        if content != (expected := path_table(made.final)):
            try:
                told = explain(TABLE, content, expected)
            except (KeyError, TypeError, IndexError, ValueError) as error:
                told = f"not the table of a path ({error})"
            return f"{place}: {told} from {self.results.place.results / 'curves.csv'}; {REBUILD}"
        return self._points_problem(run, pair_points(made))

    def cell_problem(self, cell: CellRecord, made: CellResult) -> str | None:
        """Return one line if the run of the cell above its last pair shows other numbers than follow from its pairs."""
        above = self.pair((cell.key, cell.pairs[-1].pair)).tags.get(names.PARENT, "")
        if (run := self._runs.get(("cell", above))) is None:
            raise self._lacks(f"finished run of cell {cell.key}")
        return self._points_problem(run, cell_points(made, cell.paper))

    def _points_problem(self, run: StoredRun, expected: Iterable[Point]) -> str | None:
        """Compare the numbers of a pair or a cell; NaN says that one is gone."""
        curves = [name for name in run.metrics if name.startswith(CURVES)]
        logged = {(name, 0): value for name, value in run.metrics.items() if name not in curves}
        logged |= logged_points(self.reader, run, curves)
        return points_problem(run, {key: value for key, value in logged.items() if value == value}, expected)


def check_trainings(stored: StoredStudy, intact: set[str], tally: Tally, listener: Listener) -> None:
    """Check the trainings of every cell against their run folders, and each stored checkpoint once."""
    results, seen = stored.results, set[str]()
    wanted = dict.fromkeys((cell, f) for (cell, _), (_, pair) in results.pairs.items() for f in pair.fingerprints)
    with part(listener, f"checking {len(wanted)} trainings in MLflow", len(wanted)):
        for cell, fingerprint in wanted:
            listener.advance(1, cell)
            try:
                training = stored.training(cell, fingerprint)
                problem = stored.training_problem(training) if fingerprint in intact else None
            except LmcError as error:
                tally.add("trainings in MLflow", str(error))
                continue
            tally.add("trainings in MLflow", problem)
            if (place := f"{training.run.artifact_uri} {fingerprint}") not in seen:
                seen.add(place)
                for name in set(training.kept) & set(training.checkpoints):
                    tally.add("checkpoints in MLflow", training.damage(name))


def check_pairs(
    stored: StoredStudy,
    pairs: Mapping[PairName, PairResult],
    cells: Mapping[str, CellResult],
    tally: Tally,
    listener: Listener,
) -> None:
    """Check the numbers that MLflow shows of pairs and cells against those recomputed from curves.csv."""
    with part(listener, f"checking {len(cells)} cells in MLflow", len(cells)):
        for cell in (cell for cell in stored.results.study.cells if cell.key in cells):
            listener.advance(1, key := cell.key)
            for name in ((key, pair.pair) for pair in cell.pairs):
                tally.attempt("pairs in MLflow", stored.pair_problem, name, pairs[name])
            tally.attempt("cells in MLflow", stored.cell_problem, cell, cells[key])


def measure_again(
    stored: StoredStudy, prepared: Path, jobs: int, tally: Tally, listener: Listener
) -> tuple[dict[PairName, PairResult], list[str]]:
    """Measure every pair from MLflow's weights.

    Returns:
        The pairs that could be measured, and one line per pair whose weights were not kept. A pair with weights that
        cannot be read is a problem.
    """
    asked: list[PairName] = []
    left_out: list[str] = []

    def tasks() -> Iterator[PairTask]:
        for name in stored.results.pairs:
            try:
                task = _task(stored, name, prepared)
            except LmcError as error:
                tally.add("paths measured again", f"cell {name[0]}, pair {name[1]}: not measured again: {error}")
            else:
                if task is not None:
                    asked.append(name)
                    yield task
                    continue
                left_out.append(f"cell {name[0]}, pair {name[1]}, measured again: its weights were not kept")
            listener.advance(1)

    measured: dict[PairName, PairResult] = {}
    with part(listener, f"measuring {len(stored.results.pairs)} paths again", len(stored.results.pairs)):
        for i, result in enumerate(LocalEngine(jobs).map(measure_pair, tasks())):
            tally.add("paths measured again", None)
            measured[asked[i]] = result
            listener.advance(1, asked[i][0])
    return measured, left_out


def _task(stored: StoredStudy, name: PairName, prepared: Path) -> PairTask | None:
    """Return a pair's task, with the weights that MLflow holds; None if these were not all kept."""
    pair, marks, load = stored.results.pairs[name][1], sorted(stored.results.curves[name]), stored.reader.checkpoint
    a, b = (stored.training(name[0], fingerprint) for fingerprint in pair.fingerprints)
    ends = zip((a, b), zip(*(ends_at(pair.epochs, mark) for mark in marks), strict=True), strict=True)
    if not all(set(wanted) <= set(kept_marks(end.status)) for end, wanted in ends):
        return None
    first, second = (PairEnd(end.run.fingerprint, end.config, end.status, partial(load, end.run)) for end in (a, b))
    points, path = stored.results.study.points, stored.results.pairs[name][0].path
    return pair_task(pair.pair, (first, second), prepared, points, marks=marks, path=path, epochs=pair.epochs)
