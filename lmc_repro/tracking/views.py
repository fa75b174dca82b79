"""Views of the store as data: its content, cells and runs, and whether they belong to params.yaml and results.

A record is chosen by identity: by the cell's id as it follows from params.yaml and from the data, numerics and torch of
the results. Its name and time do not count: another experiment may have written it, or a clock was set back.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.common.locks import is_gone
from lmc_repro.config.own_code import short_name
from lmc_repro.tracking import names
from lmc_repro.tracking.content import METRICS
from lmc_repro.tracking.find import Points, Reader, StoredRun
from lmc_repro.tracking.store import (
    database_path,
    one_line_errors,
    project_run_is_gone,
    store_lock,
    without_password,
)
from lmc_repro.tracking.ui import publish_view

if TYPE_CHECKING:
    from lmc_repro.common.project import Project
    from lmc_repro.config.plan import Cell, StudyPlan

PATH = tuple(f"path/{split}_{name}" for split in SPLITS for name in ("error", "loss"))
OVER_TRAINING = tuple(f"barrier_over_training/{split}" for split in SPLITS)
_OLD = tuple(old for old, new in names.OLD_METRICS.items() if new in OVER_TRAINING)
CURVES = {"train": METRICS, "pair": (*PATH, *OVER_TRAINING), "cell": (*PATH, *OVER_TRAINING, *_OLD)}
"""The metrics of each kind that are curves: by epoch, a path's by 1000 alpha. All others are single numbers."""

_WHOSE = (names.KIND, names.STUDY, names.PROFILE, names.CELL)
_IDENTITY = (*_WHOSE, names.CELL_ID, names.DIGEST, names.NUMERICS, names.TORCH)
_HEIGHTS = (("barrier", ""), ("line", "_line"))


@dataclass
class Present:
    """The present params.yaml and results, against which records are checked.

    Args:
        project: Whose results they are: those of DVC, or of `lmc run` where DVC has none of the profile.
        plan_of: From study and profile to the plan of params.yaml; LmcError if it has none.
    """

    project: Project
    plan_of: Callable[[str, str], StudyPlan]

    def __post_init__(self) -> None:
        self._known = cache(self._read)

    def stranger(self, run: StoredRun) -> str | None:
        """Return why a run of ours does not belong to params.yaml and results, None if it does."""
        study, profile, key = (run.tags.get(name, "") for name in (names.STUDY, names.PROFILE, names.CELL))
        if run.kind not in names.KEY_TAG:
            return None
        cells, made = self._known(study, profile)
        if cells is None:
            return f"params.yaml has no study {study} under profile {profile}"
        if (cell := cells.get(key)) is None:
            return f"study {study} of params.yaml has no such cell"
        own = [run.tags.get(name, "") for name in (names.DIGEST, names.NUMERICS, names.TORCH)]
        if names.cell_identity(cell, *own) != run.tags.get(names.CELL_ID):
            return "made with other settings than those of params.yaml, or by another version"
        if made is None:
            return None
        digests = {entry["name"]: entry["digest"] for entry in made["datasets"]}
        theirs = [digests.get(short_name(cell.config["data"]["dataset"]), own[0]), made["numerics"], made["torch"]]
        what = [name for name, a, b in zip(("data", "numerics", "torch"), own, theirs, strict=True) if a != b]
        return f"made with other {' and '.join(what)} than the results" if what else None

    def places(self, study: str, profile: str) -> tuple[Path, Path]:
        """Return the possible folders of a study's results: DVC's and those of `lmc run`."""
        return self.project.results / study, self.project.out / profile / study / "results" / study

    def _read(self, study: str, profile: str) -> tuple[dict[str, Cell] | None, dict[str, Any] | None]:
        """Return the cells of params.yaml by key, and the runs.json that is here."""
        try:
            cells = {cell.key: cell for cell in self.plan_of(study, profile).cells}
        except LmcError:
            return None, None
        for place in self.places(study, profile):
            with suppress(LmcError):  # missing or damaged: the reader of the results reports it
                made: dict[str, Any] = read_json(place / "runs.json", f"run `lmc compare {study}`")
                if made.get("profile") == profile:
                    return cells, made
        return cells, None


@dataclass(frozen=True)
class ListedCell:
    """A cell: mean barriers and the paper's in points, and the mean over its pairs of the error along the path.

    `mean` is that of Eq. 1, `line` that of the line barrier. `run_id` is None where the store has no such run; `status`
    is that of the cell's run.
    """

    cell: str
    cell_id: str
    run_id: str | None
    status: str
    n: int
    mean: dict[SplitName, float | None]
    line: dict[SplitName, float | None]
    verdict: dict[SplitName, str | None]
    flags: dict[SplitName, list[str]]
    paper: dict[SplitName, float | None]
    curve: dict[SplitName, list[float]]

    def says(self) -> tuple[Any, ...]:
        """Return the content of a judgement: equal content means the same pairs and rules."""
        return self.n, self.mean, self.line, self.verdict


@dataclass(frozen=True)
class Stranger:
    """A cell's run that does not belong to params.yaml and results, and why."""

    cell: str
    cell_id: str
    run_id: str
    why: str


def stored_cells(
    root: Path, uri: str | None, plan: StudyPlan, present: Present
) -> tuple[str, list[ListedCell], list[Stranger]]:
    """Return the store's address, its cells of a plan in the plan's order, and the cells that do not belong to it.

    Raises:
        LmcError: The store is not there or cannot be read. One that has no such experiment has no cells.
    """
    reader = Reader.open(root, uri)
    experiment = reader.study(plan.study, plan.profile)
    if experiment is None:
        return without_password(reader.uri), [], []
    here = [experiment.experiment_id]
    chosen: dict[str, StoredRun] = {}
    strangers = []
    for run in reader.runs({names.KIND: "cell"}, here, only=_IDENTITY):
        key = run.tags[names.CELL]
        if why := present.stranger(run):
            strangers.append(Stranger(key, run.tags.get(names.CELL_ID, ""), run.run_id, why))
        elif (known := chosen.get(key)) is None or not known.finished or run.finished:
            chosen[key] = run
    cells = {run.tags[names.CELL]: run for run in reader.filled(chosen.values())}
    wanted = {(cell.key, pair.name) for cell in plan.cells for pair in cell.pairs}
    ids = {run.tags[names.CELL_ID] for run in cells.values()}
    pairs = {
        run.run_id: run
        for run in reader.runs({names.CELL_ID: ids, names.KIND: "pair"}, here)
        if run.finished and (run.tags[names.CELL], run.tags.get("lmc.pair")) in wanted
    }
    paths: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run_id, curves in reader.histories(pairs.values(), [f"path/{split}_error" for split in SPLITS]).items():
        path = {name: values(points) for name, points in curves.items()}
        if {len(line) for line in path.values()} == {plan.profile_config.points}:
            tags = pairs[run_id].tags
            paths.setdefault(tags[names.CELL], {})[tags["lmc.pair"]] = path
    listed = [_listed(cells[cell.key], [*paths.get(cell.key, {}).values()]) for cell in plan.cells if cell.key in cells]
    return without_password(reader.uri), listed, strangers


def _listed(run: StoredRun, paths: Sequence[Mapping[str, list[float]]]) -> ListedCell:
    metrics = names.renamed(run.metrics)

    def number(name: str) -> float | None:
        value = metrics.get(name, math.nan)
        return None if math.isnan(value) else value  # no longer judged

    def said(what: str) -> dict[SplitName, str]:
        return {split: run.tags.get(f"lmc.{what}.{split}", "none").removesuffix("none") for split in SPLITS}

    return ListedCell(
        cell=run.tags[names.CELL],
        cell_id=run.tags[names.CELL_ID],
        run_id=run.run_id,
        status=run.status,
        n=int(number("barrier/test_n") or 0),
        mean={split: number(f"barrier/{split}") for split in SPLITS},
        line={split: number(f"barrier/{split}_line") for split in SPLITS},
        verdict={split: verdict or None for split, verdict in said("verdict").items()},
        flags={split: flags.split() for split, flags in said("flags").items()},
        paper={split: number(f"paper/{split}") for split in SPLITS},
        curve={split: mean_curve([path.get(f"path/{split}_error", []) for path in paths]) for split in SPLITS},
    )


def mean_curve(curves: list[list[float]]) -> list[float]:
    """Return the mean at each point over curves of one length."""
    whole = [curve for curve in curves if curve and len(curve) == len(curves[0])]
    return [statistics.fmean(errors) for errors in zip(*whole, strict=True)]


def run_view(reader: Reader, run: StoredRun, present: Present | None = None) -> dict[str, Any]:
    """Return a run: identity, config and seeds, numbers, curves, and the runs that belong to it.

    `config` holds its parameters as values; `curves` gives [step, value] lists. A cell has `trainings` and `pairs`, a
    pair its `ends`, a training the `pairs` that it is an end of. `stranger` says why the run does not belong to the
    `present` params.yaml and results; null if it does, or if there are none.
    """
    curves = reader.history(run, (*CURVES.get(run.kind, ()), *_own_metrics(run)))
    curves, metrics = names.renamed(curves), names.renamed(run.metrics)
    drawn = {name for name in metrics if name.startswith("path/") or name in curves}
    return {
        "run_id": run.run_id,
        "name": run.tags.get(names.RUN_NAME, ""),
        "kind": run.kind,
        "status": run.status,
        "store": without_password(reader.uri),
        "stranger": present.stranger(run) if present else None,
        "study": run.tags.get(names.STUDY),
        "profile": run.tags.get(names.PROFILE),
        "cell": run.tags.get(names.CELL),
        "parent": run.tags.get(names.PARENT),
        "config": {name: _value(text) for name, text in sorted(run.params.items())},
        "tags": {name: value for name, value in sorted(run.tags.items()) if name.startswith("lmc.")},
        "numbers": {name: value for name, value in sorted(metrics.items()) if name not in drawn and value == value},
        "curves": {name: [[step, value] for step, value in points] for name, points in curves.items()},
        **_relatives(reader, run),
    }


def _own_metrics(run: StoredRun) -> list[str]:
    """Return the metrics of a pair that are means of path metrics: all of its path but what every path has."""
    known = {*PATH, "path/alpha", *(f"path/{split}_excess" for split in SPLITS)}
    return sorted(name for name in run.metrics if name.startswith("path/") and name not in known)


def _relatives(reader: Reader, run: StoredRun) -> dict[str, Any]:
    if run.kind not in names.KEY_TAG:
        return {}
    family = reader.siblings(run)
    trainings = [other for other in family if other.kind == "train"]
    pairs = [other for other in family if other.kind == "pair"]
    if run.kind == "cell":
        return {"trainings": [_training(t) for t in trainings], "pairs": [_pair(reader, pair) for pair in pairs]}
    if run.kind == "train":
        own = run.tags.get(names.FINGERPRINT)
        return {
            "pairs": [_pair(reader, p) for p in pairs if own in (p.tags.get(f"lmc.fingerprint_{i}") for i in (0, 1))]
        }
    known = {t.tags.get(names.FINGERPRINT): _training(t) for t in trainings}
    ends = {i: known.get(run.tags.get(f"lmc.fingerprint_{i}")) for i in (0, 1)}
    return {"ends": [{**end, "status": run.tags.get(f"lmc.status_{i}")} for i, end in ends.items() if end]}


def _training(run: StoredRun) -> dict[str, Any]:
    errors = {f"{split}_error": run.metrics.get(f"{split}/error") for split in SPLITS}
    seeds = {name: _value(text) for name, text in run.params.items() if name.startswith("seeds.")}
    return {"run_id": run.run_id, "name": run.tags.get(names.RUN_NAME, ""), "status": run.status, **seeds, **errors}


def _pair(reader: Reader, run: StoredRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.tags.get(names.RUN_NAME, ""),
        "ends": [run.tags.get(f"lmc.status_{i}") for i in (0, 1)],
        **{f"{split}_{name}": run.metrics.get(f"barrier/{split}{end}") for split in SPLITS for name, end in _HEIGHTS},
        "test_error": values(reader.history(run, ("path/test_error",)).get("path/test_error", [])),
    }


def values(points: Points | Sequence[Sequence[float]]) -> list[float]:
    """Return the values of a curve without its steps."""
    return [point[1] for point in points]


def _value(text: str) -> Any:
    """Return a parameter's value from its text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Shown:
    """An experiment, and its pairs' run ids, the largest test barrier first, those without one last.

    `strangers` counts the pairs that do not belong to params.yaml and results, by the reason why.
    """

    name: str
    experiment_id: str
    pairs: tuple[str, ...]
    strangers: Mapping[str, int] = field(default_factory=dict)


def find_shown(
    project: Project, study: str | None, row: str | None, column: str | None, present: Present | None = None
) -> tuple[str, list[Shown]]:
    """Return the store's address and its experiments of `study` (None: all of ours), with the pairs of a row or column.

    Each experiment gets its view if it lacks it. `present` decides which pairs belong to params.yaml and results.

    Raises:
        LmcError: There is no store, or it holds nothing of that name.
    """
    reader = Reader.open(project.home)
    uri, client = reader.uri, reader.client
    with store_lock(project):
        ours = {e: e.name.removeprefix(names.EXPERIMENT_PREFIX).rpartition("/")[0] for e in reader.experiments()}
        if not ours:
            place, command = without_password(uri), f"lmc run {study or 'STUDY'}"
            raise LmcError(f"{place}: holds no study; run `dvc repro` or `{command}` first")
        chosen = [e for e, name in ours.items() if study in (None, name)]
        if not chosen:
            raise LmcError(f"STUDY: found {study!r}, the store holds: {', '.join(sorted(set(ours.values())))}")
        with one_line_errors(uri):
            for experiment in chosen:
                publish_view(client, client.get_experiment(experiment.experiment_id))
        found = {e: reader.runs({names.KIND: "pair"}, [e.experiment_id]) for e in chosen}
    wanted = {}
    for option, tag, value in (("--row", names.ROW, row), ("--column", names.COLUMN, column)):
        there = {run.tags.get(tag, "") for runs in found.values() for run in runs}
        if value is not None:
            wanted[tag] = value
            if value not in there:
                raise LmcError(f"{option}: found {value!r}, the pairs have: {', '.join(sorted(there)) or 'none, yet'}")
    shown = []
    for experiment, runs in found.items():
        narrowed_to = sorted((run for run in runs if wanted.items() <= run.tags.items()), key=_height)
        why = {run.run_id: present.stranger(run) if present else None for run in narrowed_to}
        pairs = tuple(run_id for run_id, reason in why.items() if reason is None)
        strangers = Counter(reason for reason in why.values() if reason is not None)
        shown.append(Shown(experiment.name, experiment.experiment_id, pairs, strangers))
    return uri, shown


def narrowed(query: str, row: str | None, column: str | None) -> str:
    """Return the search for `query` (empty: all) within a row or column."""
    tags = ((names.ROW, row), (names.COLUMN, column))
    return " and ".join([query] * bool(query) + [f"tags.`{tag}` = '{value}'" for tag, value in tags if value])


def _height(run: StoredRun) -> float:
    barrier = run.metrics.get("barrier/test", math.nan)
    return math.inf if math.isnan(barrier) else -barrier


@dataclass(frozen=True)
class RunningRun:
    """A run that counts as RUNNING. `gone`: its process has ended; None where this machine cannot know."""

    run_id: str
    name: str
    kind: str
    gone: bool | None


@dataclass(frozen=True)
class Survey:
    """A store: `experiments` gives the number of runs of each kind (`other`: none of ours) by experiment."""

    experiments: dict[str, dict[str, int]]
    running: tuple[RunningRun, ...]

    @property
    def stale(self) -> tuple[RunningRun, ...]:
        """The runs whose process is known to be gone."""
        return tuple(run for run in self.running if run.gone)


def survey(uri: str) -> Survey | None:
    """Summarise the store at an address, None if it does not exist yet; LmcError if it cannot be read."""
    database = database_path(uri)
    if database is not None and not database.exists():
        return None
    reader = Reader(uri)
    experiments = {e.experiment_id: e for e in reader.experiments("" if database else names.EXPERIMENT_PREFIX)}
    runs = reader.runs({}, experiments, only=(names.KIND, names.PROCESS, names.RUN_NAME, names.SOURCE))
    counts: dict[str, Counter[str]] = {e.name: Counter() for e in experiments.values()}
    running = []
    for run in runs:
        counts[experiments[run.experiment_id].name][run.kind] += 1
        if run.status == "RUNNING":
            kind, gone = run.kind, is_gone(run.tags.get(names.PROCESS))
            if gone is None and database and run.tags.get(names.SOURCE) == "PROJECT":
                kind, gone = "mlflow run", project_run_is_gone(run.run_id)
            running.append(RunningRun(run.run_id, run.tags.get(names.RUN_NAME, ""), kind, gone))
    return Survey({name: dict(kinds) for name, kinds in counts.items()}, tuple(running))


def end_stale(uri: str, found: Survey) -> list[str]:
    """Mark the stale runs as killed and return their ids; a later command may still resume them."""
    client = Reader(uri).client
    with one_line_errors(uri):
        for run in found.stale:
            client.set_terminated(run.run_id, "KILLED")
    return [run.run_id for run in found.stale]
