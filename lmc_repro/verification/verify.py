"""`lmc verify`: a study's files made again, its runs in MLflow against them, and its paths measured again; no training.

runs.json is made again from run folders, cells.json from curves.csv, curves.csv from the weights that MLflow holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lmc_repro.barriers.measure import measure_pair, plane_or_reason
from lmc_repro.barriers.pair import EVALUATION_NUMERICS, PairTask, pair_key, pair_task
from lmc_repro.barriers.plane import PlaneTask, plane_task
from lmc_repro.barriers.results import CellResult, PairResult, Plane
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag, torch_version
from lmc_repro.common.progress import Listener, part
from lmc_repro.common.project import Project
from lmc_repro.common.words import counted
from lmc_repro.config.plan import ends_at
from lmc_repro.config.study import Judgement
from lmc_repro.data.status import folder_of, require_ready
from lmc_repro.engine.local import LocalEngine, default_jobs
from lmc_repro.pipeline.workspace import prepared_dir
from lmc_repro.results.pairs import ends_problem, judged_cell, judged_pair, runs_problem
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import PLANES, CellRecord, StudyResults
from lmc_repro.results.write import curves_of, pair_record, results_files, run_record
from lmc_repro.tracking import names
from lmc_repro.tracking.content import Point, cell_points, pair_points, pair_tables
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import REBUILD, NoStore
from lmc_repro.training.run_folder import RunFolder, kept_epochs
from lmc_repro.verification.differences import Check, RecordedTraining, Tally, explain, logged_points, points_problem

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

PairName = tuple[str, str]
"""Cell and pair."""

CURVES = ("path/", "barrier_over_training/")
"""Metrics with many steps; of the others the last value is known without another call."""


@dataclass(frozen=True)
class Verification:
    """Places, counted checks, problems, and checks left out with reasons."""

    study: str
    profile: str
    places: tuple[str, ...]
    checks: tuple[Check, ...]
    problems: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float

    def lines(self) -> Iterator[str]:
        """Yield the verification for people: counts, checks left out, a line per problem, and the answer."""
        yield f"{self.study}, profile {self.profile}: {' and '.join(self.places)}"
        for check in self.checks:
            wrong = "" if check.equal == check.total else "  WRONG"
            yield f"  {check.name:<22} {check.equal} of {check.total}{wrong}"
        yield from (f"  left out: {reason}" for reason in self.left_out)
        yield from (f"problem: {problem}" for problem in self.problems)
        count = len(self.problems)
        yield f"{counted(count, 'problem') if count else 'no problems'} in {self.seconds:.0f} s"


def verify_study(
    project: Project, study: str, profile: str, judgement: Judgement, quick: bool, listener: Listener
) -> Verification:
    """Check all of a study's results, DVC's and those of `lmc run`. Writes nothing.

    Args:
        project: The project with the results, the runs and the store.
        study: The study's key in params.yaml.
        profile: The profile of the results.
        judgement: The profile's rules for verdicts.
        quick: Leave out measuring the paths again.
        listener: Receives the progress.

    Raises:
        LmcError: There are no results.
    """
    begun, tally, left_out, reader = time.monotonic(), Tally(), dict[str, None](), None
    out, again = project.out / profile / study, f"run `lmc run {study} --profile {profile}`"
    places = {
        project.results / study: (project.runs / study, f"run `lmc compare {study}`"),
        out / "results" / study: (out / "runs", f"{again} as before"),
    }
    try:
        reader = Reader.open(project.home)
    except NoStore as error:
        tally.find(str(error))
    found = list(filter(has_results, places))
    for place in tuple(found):
        try:
            recorded = read_study(place)
            if recorded.profile != profile:
                found.remove(place)
                continue
            examined = _Place(place, *places[place], recorded, judgement, tally, listener)
            examined.check(project, reader, quick)
            left_out |= dict.fromkeys(examined.left_out)
        except LmcError as error:
            tally.find(str(error))  # all other checks of the place need this file
    if not found:
        raise LmcError(f"{study}, profile {profile}: no results in {' and '.join(map(str, places))}; {again}")
    problems = tuple(finding.text for finding in tally.findings)
    seconds = time.monotonic() - begun
    return Verification(study, profile, tuple(map(str, found)), tally.checks, problems, tuple(left_out), seconds)


@dataclass
class _Place:
    """The results of a study in one folder, its run folders, and its runs in MLflow; problems go to `tally`."""

    results: Path
    runs: Path
    fix: str
    study: StudyResults
    judgement: Judgement
    tally: Tally
    listener: Listener

    def __post_init__(self) -> None:
        self.pairs = {(cell.key, pair.pair): (cell, pair) for cell in self.study.cells for pair in cell.pairs}
        self.curves = self.study.curves_by_pair()
        diverged = {run.fingerprint: {"diverged_epoch": run.diverged_epoch} for run in self.study.runs}
        self.made: dict[PairName, PairResult] = {}
        for name, (cell, pair) in self.pairs.items():
            statuses = {run: diverged.get(run, {"diverged_epoch": None}) for run in pair.fingerprints}
            self.made[name] = judged_pair(pair, self.curves[name], cell.config, statuses)
        self.stored: dict[tuple[str, ...], StoredRun] = {}
        self.trainings: dict[str, RecordedTraining] = {}
        self.left_out: list[str] = []
        self.seen = set[str]()  # artifacts whose checkpoints were checked

    def check(self, project: Project, reader: Reader | None, quick: bool) -> None:
        """Check everything, the paths between MLflow's weights last."""
        intact = self._check_run_folders()
        for name, pair in self.made.items():
            if intact.issuperset(pair.fingerprints):
                problem = ends_problem(self.runs, self.study.numerics, pair, self.pairs[name][0].path)
                self.tally.add("ends of paths", problem and f"{self.results / 'curves.csv'}: cell {name[0]}: {problem}")
        for key, plane in self.study.planes.items():
            if intact.issuperset(plane.fingerprints):
                problem = runs_problem(self.runs, self.study.numerics, plane)
                self.tally.add("runs on planes", problem and f"{self.results / PLANES}: cell {key}: {problem}")
        cells = self._judge(self.made)
        if reader is None:
            self.left_out.append("MLflow and the paths between its weights: there is no store that can be read")
            return
        self._find_runs(reader)
        with part(self.listener, f"checking {counted(len(cells), 'cell')} in MLflow", len(cells)):
            for cell in self.study.cells:
                for fingerprint in sorted(cell.fingerprints):
                    self._check_training(cell.key, fingerprint, fingerprint in intact)
                for record in cell.pairs:
                    self.tally.attempt("pairs in MLflow", self._pair_problem, (cell.key, record.pair))
                self.tally.attempt("cells in MLflow", self._cell_problem, cell, cells[cell.key])
                self.listener.advance(1, cell.key)
        precisions = {cell.config.get("precision", "float32") for cell in self.study.cells}
        conditions = {
            "numerics": (self.study.numerics, numerics_tag("cpu", precisions)),
            "torch": (self.study.torch, torch_version()),
            "EVALUATION_NUMERICS": (self.study.evaluation_numerics, EVALUATION_NUMERICS),
        }
        others = [f"{name} {there}, here {here}" for name, (there, here) in conditions.items() if there != here]
        if why := "--quick" if quick else others and f"they were made with {' and '.join(others)}":
            self.left_out.append(f"paths measured again: {why}")
            return
        prepared = prepared_dir(project, [entry.name for entry in self.study.datasets])
        for entry in self.study.datasets:
            if (digest := str(require_ready(prepared, entry.name).get("digest"))) != entry.digest:
                recorded = f"digest {digest[:12]}, the results are of {entry.digest[:12]}"
                raise LmcError(
                    f"{folder_of(prepared, entry.name)}: {recorded}; run `lmc prepare {entry.name}`, or {self.fix}"
                )
        wanted = {name: f"cell {name[0]}, pair {name[1]}" for name in self.pairs}
        again = self.made | self._again("paths", wanted, lambda name: self._task(name, prepared), measure_pair)
        of_cell = {cell.key: [again[cell.key, pair.pair] for pair in cell.pairs] for cell in self.study.cells}
        self._same("curves.csv", replace(self.study, curves=curves_of(of_cell)))
        self._judge(again)
        if any(cell.plane for cell in self.study.cells):
            self._same(PLANES, replace(self.study, planes=self._measure_planes(prepared)))

    def _same(self, name: str, study: StudyResults) -> None:
        """Compare a file with its bytes made from `study`; name the first key that differs."""
        path, made = self.results / name, results_files(study)[name]
        recorded = path.read_bytes()
        problem = None if recorded == made else f"{path}: {explain(name, recorded, made)}; {self.fix}"
        self.tally.add(name, problem)

    def _check_run_folders(self) -> set[str]:
        """Check every run folder that runs.json names, and runs.json; return the fingerprints of the intact ones."""
        intact, made = set(), []
        with part(self.listener, f"checking {len(self.study.runs)} run folders", len(self.study.runs)):
            for entry in self.study.runs:
                self.listener.advance(1, entry.fingerprint)
                folder = RunFolder(self.runs / entry.fingerprint)
                lacks = f"{folder.path}: no finished run, which {self.results / 'runs.json'} names; {folder.fix}"
                if self.tally.add("run folders", folder.damage() if folder.is_complete() else lacks):
                    intact.add(folder.fingerprint)
                    try:
                        entry = run_record(folder, entry.cell, folder.config(), folder.status())
                    except KeyError as error:
                        raise LmcError(f"{folder.status_file}: no {error}; {folder.fix}") from None
                made.append(entry)
        self._same("runs.json", replace(self.study, runs=tuple(made)))
        return intact

    def _judge(self, pairs: Mapping[PairName, PairResult]) -> dict[str, CellResult]:
        """Judge every cell from its pairs, by the results' threshold, and compare cells.json; return the cells."""
        judgement, cells, made = self.judgement.model_copy(update={"threshold": self.study.threshold}), [], {}
        for cell in self.study.cells:
            own = [pairs[cell.key, pair.pair] for pair in cell.pairs]
            plane = self.study.planes.get(cell.key)
            made[cell.key] = result = judged_cell(cell.config, judgement, own, plane)
            cells.append(replace(cell, pairs=tuple(map(pair_record, result.pairs)), summary=result.summary))
        self._same("cells.json", replace(self.study, cells=tuple(cells)))
        return made

    def _find_runs(self, reader: Reader) -> None:
        """Find the study's finished runs in MLflow."""
        self.reader, study = reader, self.study
        if (experiment := reader.study(study.study, study.profile)) is None:
            raise LmcError(f"{reader.uri}: no experiment lmc/{study.study}/{study.profile}; {self.fix}")
        keys = {
            pair_key(p.fingerprints, study.points, study.numerics, c.path, p.epochs) for c, p in self.pairs.values()
        }
        found = reader.runs({names.NUMERICS: study.numerics}, [experiment.experiment_id])
        # Of several pairs, with other numbers of points or another path, the one of the results comes last.
        for run in sorted(found, key=lambda run: run.tags.get(names.PAIR_KEY) in keys):
            tags = (names.CELL, "lmc.pair", "lmc.fingerprint_0", "lmc.fingerprint_1")
            cell, pair, *ends = (run.tags.get(tag, "") for tag in tags)
            own = {"cell": [run.run_id], "train": [cell, run.tags.get(names.FINGERPRINT, "")]}
            if run.finished:
                self.stored[run.kind, *own.get(run.kind, [cell, pair, *ends])] = run

    def _run(self, what: str, *key: str) -> StoredRun:
        if (run := self.stored.get(key)) is None:
            raise LmcError(f"{self.reader.uri}: no finished {what}; {self.fix}")
        return run

    def _pair(self, name: PairName) -> StoredRun:
        return self._run(f"pair {name[1]} of cell {name[0]}", "pair", *name, *self.pairs[name][1].fingerprints)

    def _training(self, cell: str, fingerprint: str) -> RecordedTraining:
        run = self._run(f"training {fingerprint} of cell {cell}", "train", cell, fingerprint)
        return self.trainings.setdefault(run.run_id, RecordedTraining(self.reader, run))

    def _check_training(self, cell: str, fingerprint: str, intact: bool) -> None:
        """Check a training in MLflow against its run folder, if that is intact, and each checkpoint once."""
        try:
            training = self._training(cell, fingerprint)
            problem = training.problem(RunFolder(self.runs / fingerprint)) if intact else None
            place = training.run.owner.artifact_uri
        except LmcError as error:
            self.tally.add("trainings in MLflow", str(error))
            return
        self.tally.add("trainings in MLflow", problem)
        if place not in self.seen:
            self.seen.add(place)
            for name in training.checkpoints.keys() & training.kept:
                self.tally.add("checkpoints in MLflow", training.damage(name))

    def _pair_problem(self, name: PairName) -> str | None:
        """Return one line if MLflow holds another path than curves.csv, or shows other numbers than follow from it."""
        run = self._pair(name)
        for table, expected in pair_tables(self.made[name]).items():
            place, content = self.reader.artifact(run, table)
            if content != expected:
                try:
                    reason = explain(table, content, expected)
                except (KeyError, TypeError, IndexError, ValueError) as error:
                    reason = f"not the table of a path ({error})"
                return f"{place}: {reason} from {self.results}; {REBUILD}"
        return self._points_problem(run, pair_points(self.made[name]))

    def _cell_problem(self, cell: CellRecord, made: CellResult) -> str | None:
        """Return one line if the run of the cell above its last pair shows other numbers than follow from its pairs."""
        above = self._pair((cell.key, cell.pairs[-1].pair)).tags.get(names.PARENT, "")
        run = self._run(f"run of cell {cell.key}", "cell", above)
        if any(value == value for name, value in run.metrics.items() if name in names.OLD_METRICS):
            return f"run {run.run_id}: an earlier version's names of metrics; run `lmc publish {self.study.study}`"
        return self._points_problem(run, cell_points(made, cell.paper))

    def _points_problem(self, run: StoredRun, expected: Iterable[Point]) -> str | None:
        """Compare the numbers of a pair or a cell; NaN says that one is gone."""
        curves = [name for name in run.metrics if name.startswith(CURVES)]
        logged = {(name, 0): value for name, value in run.metrics.items() if name not in curves}
        logged |= logged_points(self.reader, run, curves)
        return points_problem(run, {key: value for key, value in logged.items() if value == value}, expected)

    def _again(
        self, kind: str, wanted: Mapping[K, str], task_of: Callable[[K], T | None], measure: Callable[[T], R]
    ) -> dict[K, R]:
        """Measure what is `wanted`, words by name, from MLflow's weights: left out where these were not kept.

        Damaged weights are a problem.
        """
        asked: list[K] = []

        def tasks() -> Iterator[T]:
            for name, words in wanted.items():
                try:
                    if (task := task_of(name)) is not None:
                        asked.append(name)
                        yield task
                        continue
                    self.left_out.append(f"{words}, measured again: its weights were not kept")
                except LmcError as error:
                    self.tally.add(f"{kind} measured again", f"{words}: not measured again: {error}")
                self.listener.advance(1)

        measured = {}
        with part(self.listener, f"measuring {len(wanted)} {kind} again", len(wanted)):
            for i, result in enumerate(LocalEngine(default_jobs()).map(measure, tasks())):
                self.tally.add(f"{kind} measured again", None)
                measured[asked[i]] = result
                self.listener.advance(1)
        return measured

    def _measure_planes(self, prepared: Path) -> dict[str, Plane]:
        """Measure every plane again; one that cannot be stays as it is."""
        cells = {cell.key: cell for cell in self.study.cells if cell.plane}

        def task_of(key: str) -> PlaneTask | None:
            cell = cells[key]
            runs = [self._training(key, fingerprint).end for fingerprint in cell.plane_runs]
            kept = all(run.config.epochs in kept_epochs(run.status) for run in runs)
            return plane_task(runs, prepared, cell.plane) if kept and cell.plane else None

        again = self._again("planes", {key: f"cell {key}, plane" for key in cells}, task_of, plane_or_reason)
        planes: dict[str, Plane | str] = {**self.study.planes, **again}
        return {key: plane for key in cells if isinstance(plane := planes.get(key), Plane)}

    def _task(self, name: PairName, prepared: Path) -> PairTask | None:
        """Return a pair's task, with the weights that MLflow holds; None if these were not all kept."""
        (cell, pair), evaluations = self.pairs[name], sorted(self.curves[name])
        a, b = (self._training(name[0], fingerprint).end for fingerprint in pair.fingerprints)
        wanted = zip((a, b), zip(*(ends_at(pair.epochs, epoch) for epoch in evaluations), strict=True), strict=True)
        if not all(set(epochs) <= set(kept_epochs(end.status)) for end, epochs in wanted):
            return None
        points, path = self.study.points, cell.path
        return pair_task(pair.pair, (a, b), prepared, points, evaluations=evaluations, path=path, epochs=pair.epochs)
