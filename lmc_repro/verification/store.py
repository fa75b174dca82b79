"""A study's runs in MLflow against its files, and its paths measured again from the weights that MLflow holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lmc_repro.barriers.results import CellResult, PairResult
from lmc_repro.compare.pair import PairTask, pair_key
from lmc_repro.compare.work import measure_pair
from lmc_repro.errors import LmcError
from lmc_repro.execution.pool import map_tasks
from lmc_repro.progress import part
from lmc_repro.studies.workspace import Listener
from lmc_repro.tracking import names
from lmc_repro.tracking.content import TABLE, cell_points, pair_points, path_table
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD
from lmc_repro.training.run_folder import kept_marks
from lmc_repro.verification.differences import Tally, first_difference, table_values
from lmc_repro.verification.results import PairName, Results
from lmc_repro.verification.training import Points, StoredTraining, points_problem, stored_points

ENDS = ("lmc.fingerprint_0", "lmc.fingerprint_1")
"""Tags of a pair."""

CURVES = ("path/", "barrier_over_training/")
"""Metrics with many steps; of the others the last value is known without another call."""


class StoredStudy:
    """The finished runs that MLflow holds of a study's results."""

    def __init__(self, reader: Reader, results: Results) -> None:
        self.reader, self.results = reader, results
        study, profile = results.study.study, results.study.profile
        experiment = reader.study(study, profile)
        if experiment is None:
            raise LmcError(f"{reader.uri}: has no experiment lmc/{study}/{profile}; {results.place.fix}")
        self._trainings: dict[tuple[str, str], StoredRun] = {}
        self._pairs: dict[tuple[str, str, str], list[StoredRun]] = {}
        found = reader.runs({names.NUMERICS: results.study.numerics}, [experiment.experiment_id])
        runs = [run for run in found if run.finished]
        self._cells = {run.run_id: run for run in runs if run.kind == "cell"}
        for run in (run for run in runs if run.kind == "train"):
            self._trainings[run.tags.get(names.CELL, ""), run.tags.get(names.FINGERPRINT, "")] = run
        for run in (run for run in runs if run.kind == "pair"):
            cell, first, second = (run.tags.get(tag, "") for tag in (names.CELL, *ENDS))
            self._pairs.setdefault((cell, first, second), []).append(run)
        self._read: dict[str, StoredTraining] = {}

    def training(self, cell: str, fingerprint: str) -> StoredTraining:
        """Return a training of a cell; LmcError if MLflow lacks it or its status.json."""
        run = self._trainings.get((cell, fingerprint))
        if run is None:
            told = f"no finished training {fingerprint} of cell {cell}"
            raise LmcError(f"{self.reader.uri}: {told}; {self.results.place.fix}")
        if run.run_id not in self._read:
            self._read[run.run_id] = StoredTraining(self.reader, run, self.reader.tracked(run))
        return self._read[run.run_id]

    def pair(self, name: PairName) -> StoredRun | None:
        """Return a pair's run; of several, with other numbers of points, the one with that of the results."""
        first, second = self.results.pairs[name][1]["fingerprints"]
        found = self._pairs.get((name[0], first, second), [])
        key = pair_key((first, second), self.results.study.points, self.results.study.numerics)
        return next((run for run in found if run.tags.get(names.PAIR_KEY) == key), found[-1] if found else None)

    def cell(self, pair: StoredRun | None) -> StoredRun | None:
        """Return the run of the cell that a pair's run is below."""
        return None if pair is None else self._cells.get(pair.tags.get(names.PARENT, ""))


def check_trainings(stored: StoredStudy, whole: set[str], tally: Tally, listener: Listener) -> None:
    """Check the trainings of every cell against their run folders, and each stored checkpoint once."""
    results, seen = stored.results, set[str]()
    wanted = dict.fromkeys((cell, f) for (cell, _), (_, pair) in results.pairs.items() for f in pair["fingerprints"])
    with part(listener, f"checking {len(wanted)} trainings in MLflow", len(wanted)):
        for cell, fingerprint in wanted:
            listener.advance(1, cell)
            try:
                training = stored.training(cell, fingerprint)
                problem = _training_problem(stored, training) if fingerprint in whole else None
            except LmcError as error:
                tally.add("trainings in MLflow", str(error))
                continue
            tally.add("trainings in MLflow", problem)
            if (place := f"{training.run.artifact_uri} {fingerprint}") not in seen:
                seen.add(place)
                for name in set(training.kept) & set(training.checkpoints):
                    tally.add("checkpoints in MLflow", training.damage(name))


def _training_problem(stored: StoredStudy, training: StoredTraining) -> str | None:
    folder = stored.results.folder(training.run.fingerprint)
    for name in ("status.json", "config.json", "metrics.csv"):
        place, content = training.file(name)
        if content != (folder.path / name).read_bytes():
            return f"{place}: other bytes than {folder.path / name}; {REBUILD}"
    return training.other_tags() or training.other_points()


def check_pairs(
    stored: StoredStudy,
    pairs: Mapping[PairName, PairResult],
    cells: Mapping[str, CellResult],
    tally: Tally,
    listener: Listener,
) -> None:
    """Check the numbers that MLflow shows of pairs and cells against those recomputed from curves.csv."""
    with part(listener, f"checking {len(cells)} cells in MLflow", len(cells)):
        for cell in (cell for cell in stored.results.cells if cell["cell"] in cells):
            key, runs = cell["cell"], list[StoredRun | None]()
            for pair in cell["pairs"]:
                runs.append(run := stored.pair((key, pair["pair"])))
                tally.add("pairs in MLflow", _pair_problem(stored, run, key, pairs[key, pair["pair"]]))
            run, points = stored.cell(runs[-1]), cell_points(cells[key], cell["paper"])
            missing = f"{stored.reader.uri}: no finished run of cell {key}; {stored.results.place.fix}"
            problem = points_problem(run, _logged(stored.reader, run), points) if run else missing
            tally.add("cells in MLflow", problem)
            listener.advance(1, key)


def _pair_problem(stored: StoredStudy, run: StoredRun | None, cell: str, made: PairResult) -> str | None:
    if run is None:
        return f"{stored.reader.uri}: no finished pair {made.pair} of cell {cell}; {stored.results.place.fix}"
    try:
        place, content = stored.reader.artifact(run, TABLE)
    except LmcError as error:
        return str(error)
    if content != (expected := path_table(made.final)):
        try:
            told = first_difference(table_values(content), table_values(expected))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            told = f"not the table of a path ({error})"
        return f"{place}: {told} from {stored.results.place.results / 'curves.csv'}; {REBUILD}"
    return points_problem(run, _logged(stored.reader, run), pair_points(made))


def _logged(reader: Reader, run: StoredRun) -> Points:
    """Return the numbers of a pair or a cell; NaN says that one is gone."""
    curves = [name for name in run.metrics if name.startswith(CURVES)]
    single = {(name, 0): value for name, value in run.metrics.items() if name not in curves}
    return {key: v for key, v in (single | stored_points(reader, run, curves)).items() if v == v}


def measure_again(
    stored: StoredStudy, prepared: Path, jobs: int, tally: Tally, listener: Listener
) -> tuple[dict[PairName, PairResult], list[str]]:
    """Measure every pair from MLflow's weights.

    Returns:
        The pairs that could be measured, and one line per pair whose weights were not kept. A pair with weights that
        cannot be read is a problem.
    """
    measured: dict[PairName, PairResult] = {}
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

    total = len(stored.results.pairs)
    with part(listener, f"measuring {total} paths again", total):
        for i, result in enumerate(map_tasks(measure_pair, tasks(), jobs)):
            tally.add("paths measured again", None)
            measured[asked[i]] = result
            listener.advance(1, asked[i][0])
    return measured, left_out


def _task(stored: StoredStudy, name: PairName, prepared: Path) -> PairTask | None:
    """Return a pair's task, with the weights that MLflow holds; None if these were not all kept."""
    pair = stored.results.pairs[name][1]
    a, b = (stored.training(name[0], fingerprint) for fingerprint in pair["fingerprints"])
    epochs = sorted(stored.results.curves[name])
    if not set(epochs) <= set(kept_marks(a.status)) & set(kept_marks(b.status)):
        return None
    load = stored.reader.checkpoint
    return PairTask(
        pair=pair["pair"],
        trainer_seed=pair["trainer_seed"],
        fingerprints=(a.run.fingerprint, b.run.fingerprint),
        diverged=(a.status["diverged_epoch"], b.status["diverged_epoch"]),
        weights={epoch: (load(a.run, epoch), load(b.run, epoch)) for epoch in epochs},
        model=a.config.model,
        data=a.config.data,
        prepared=prepared,
        points=stored.results.study.points,
    )
