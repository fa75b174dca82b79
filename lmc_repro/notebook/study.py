"""A small grid of cells, trained, compared and shown in a notebook; no params.yaml, DVC or MLflow."""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import is_portable, numerics_tag
from lmc_repro.common.progress import listener
from lmc_repro.common.project import Project, find_project
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import check_params, unknown_key, validate
from lmc_repro.config.plan import StudyPlan
from lmc_repro.config.study import Settings, StudyConfig
from lmc_repro.data.prepare import prepare
from lmc_repro.data.status import require_ready
from lmc_repro.engine.devices import require_precision, resolve_device
from lmc_repro.engine.local import default_jobs
from lmc_repro.notebook.paths import Picture
from lmc_repro.notebook.runs import DEFAULTS, one_thread
from lmc_repro.pipeline.compare import compare_study
from lmc_repro.pipeline.train import train_study
from lmc_repro.pipeline.workspace import Workspace, prepared_dir, study_lock
from lmc_repro.report.contents import Asked, StudyPart
from lmc_repro.report.document import study_section
from lmc_repro.report.figures import paths_figure
from lmc_repro.report.grid import ORDER, StudyTable, study_table
from lmc_repro.report.html import html_part
from lmc_repro.report.model import EVERYWHERE, Block, Section, Table
from lmc_repro.report.text import print_block
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import StudyResults

PROFILE = "notebook"


@dataclass(frozen=True, repr=False)
class Study:
    """A finished grid, shown in a notebook and on a terminal as its report; `results` hold all that was measured."""

    results: StudyResults

    @cached_property
    def table(self) -> StudyTable:
        """The grid, as the report has it."""
        return study_table(self.results, {})

    @property
    def cells(self) -> list[dict[str, Any]]:
        """A row per cell: `row`, `column`, `n` trainer seeds with a barrier, and five values of each split.

        `test_barrier` (Eq. 1) and `test_line` are means in points, `test_min` and `test_max` the spread of the barrier,
        all None where no pair has one; `test_verdict` is None where there is none. `train_barrier` and so on likewise.
        """
        found = []
        for entry in self.table.entries:
            if entry.cell is None:
                continue
            values: dict[str, Any] = {"row": entry.row.key, "column": entry.column.key, "n": entry.n}
            for split in ORDER:
                s = entry.cell.summary[split]
                shown = {"barrier": s.mean, "line": s.line_mean, "verdict": s.verdict, "min": s.min, "max": s.max}
                values |= {f"{split}_{name}": value for name, value in shown.items()}
            found.append(values)
        return found

    def to_pandas(self) -> Any:
        """Return `cells` as a pandas DataFrame; LmcError where pandas is not installed."""
        try:
            pandas = import_module("pandas")  # published without types
        except ImportError:
            raise LmcError("to_pandas: pandas is not installed; pip install pandas, or use .cells") from None
        return pandas.DataFrame(self.cells)

    def plot(self) -> Picture:
        """Return the picture of all paths: a panel per cell, error in percent over alpha."""
        return Picture(**paths_figure(self.table).files)

    def __repr__(self) -> str:
        text = io.StringIO()
        print_block(self._section, Console(file=text, width=120, force_jupyter=False))
        return text.getvalue().rstrip()

    def _repr_html_(self) -> str:
        blocks = tuple(map(_without_files, self._section.blocks))
        return html_part(dataclasses.replace(self._section, blocks=blocks, key=""))

    @property
    def _section(self) -> Section:
        return study_section(StudyPart(self.results.study, self.table, Asked(self.results.title)))


def _without_files(block: Block) -> Block:
    """Return a block of the report without links to its files, a section folded."""
    if isinstance(block, Section):
        return dataclasses.replace(block, folded=True, media=EVERYWHERE)
    return dataclasses.replace(block, name="") if isinstance(block, Table) else block


def study(
    grid: Mapping[str, Any] | None = None,
    *,
    name: str = "study",
    dataset: str = "digits",
    epochs: int | None = None,
    pairs: int | None = None,
    replicas: int = 2,
    points: int = 11,
    threshold: float = 2.0,
    device: str = "cpu",
    jobs: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    **more: Any,
) -> Study:
    """Train and compare the pairs of every cell of a grid, as `lmc run --no-tracking` does, and return what was found.

    Args:
        grid: A study of params.yaml: `rows`, `columns`, and `base` for settings of all cells; a `label` is the key by
            default.
        name: The study's name in the results.
        dataset: Where no setting names another; digits are embedded, others lie where `lmc prepare` put them.
        epochs: Replaces the settings' `epochs`; evaluation epochs up to it stay, and it is the last.
        pairs: Replaces the settings' `pairs`, 3 by default.
        replicas: Runs per trainer seed.
        points: Alphas on a path, both ends included; 3 or more.
        threshold: Points of error from which a cell is not connected.
        device: cpu, cuda or auto.
        jobs: Worker processes, by default one per core, and at most 4 on a GPU. A script calls this below
            `if __name__ == "__main__":`.
        folder: Keeps runs and results; finished runs in it are reused, interrupted ones resumed.
        more: `base`, `rows` and so on by themselves, in place of those of `grid`.

    Raises:
        LmcError: A key or a value that cannot be, or a data set that is not there; one line.
    """
    allowed = (*StudyConfig.model_fields, *(study.__kwdefaults__ or ()))
    if unknown := [key for key in more if key not in allowed]:
        raise LmcError(*(f"study: {key}: {unknown_key(key, allowed)}" for key in unknown))
    values, choice = {"base": {}, **(grid or {}), **more}, Choice(epochs=epochs, pairs=pairs)
    plan = _plan(values, name, dataset, replicas, points, threshold, choice)
    resolved = resolve_device(device)
    require_precision(plan.runs, resolved)
    with one_thread(), tempfile.TemporaryDirectory() as scratch:
        project = Project(Path(scratch if folder is None else folder).resolve())
        prepared = _prepared(project, sorted({cell.config["data"]["dataset"] for cell in plan.cells}))
        runs, results = project.runs / name, project.results / name
        tag, notify = numerics_tag(resolved, {config.precision for config in plan.runs}), listener()
        workers = jobs or default_jobs(resolved)
        workspace = Workspace(project, plan, runs, results, prepared, workers, resolved, tag, notify, tracked=False)
        with study_lock(project, runs, notify):
            train_study(workspace)
            compare_study(workspace)
            return Study(read_study(results))


def _plan(
    values: dict[str, Any], name: str, dataset: str, replicas: int, points: int, threshold: float, choice: Choice
) -> StudyPlan:
    """Return the plan of a grid under a profile that holds the rest; LmcError names `study` in place of a file."""
    for axis in ("rows", "columns"):
        if isinstance(entries := values.get(axis), Mapping):
            values[axis] = {k: {"label": k, **e} if isinstance(e, Mapping) else e for k, e in entries.items()}
    validate(Settings, {"epochs": choice.epochs, "pairs": choice.pairs}, "study")
    config = validate(StudyConfig, values, "study")
    parts = (config.base, *config.rows.values(), *config.columns.values())
    named = {key for part in parts for key in part.optimizer}
    for part in parts:  # what `run_config` leaves out may be left out here
        usual = DEFAULTS.get(str(part.optimizer.get("kind")), {})
        part.optimizer.update({key: value for key, value in usual.items() if key not in named})
    profile = {
        "numerics": "portable" if is_portable() else "native",
        "datasets": list({dataset: None} | {found: None for part in parts if (found := part.data.get("dataset"))}),
        "replicas": replicas,
        "points": points,
        "judgement": {"threshold": threshold},
        "settings": {"data": {"dataset": dataset}},
    }
    values = {"profile": PROFILE, "profiles": {PROFILE: profile}, "studies": {name: config}}
    try:
        return plan_study(check_params(values, "params.yaml"), name, choice)
    except LmcError as error:
        lines = (line.replace("params.yaml", "study", 1) for line in error.lines)
        raise LmcError(*(line.replace(f"study: studies.{name}.", "study: ", 1) for line in lines)) from None


def _prepared(project: Project, names: list[str]) -> Path:
    """Return the folder that holds the data: embedded sets are written to the study's own, others lie in a project."""
    if all(dataset_info(name).embedded for name in names):
        for name in names:
            prepare(name, project.working / "prepared", project.raw, None)
        return project.working / "prepared"
    prepared = prepared_dir(find_project(), names)
    for name in names:
        require_ready(prepared, name)
    return prepared
