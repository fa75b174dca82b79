"""Beginning and end of the commands: the validated project, a study's plan and workspace, settings, the report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.common.errors import LmcError, every
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.progress import Listener, listener
from lmc_repro.common.project import Project, find_project
from lmc_repro.config.expand import Choice, plan_study, reported_table, validate_all
from lmc_repro.config.load import load_params, parse_yaml, validate
from lmc_repro.config.params import Params
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.plan import StudyPlan
from lmc_repro.config.study import Settings, nested
from lmc_repro.data.status import ffcv_installed
from lmc_repro.exhibits import check_exhibits, read_exhibit
from lmc_repro.pipeline.workspace import Workspace, begin_process, mirror_of, prepared_dir, study_lock
from lmc_repro.training.run_folder import Keep

if TYPE_CHECKING:
    from lmc_repro.engine.cluster import Cluster
    from lmc_repro.report.contents import Asked
    from lmc_repro.tracking.find import Reader

OPTIONS = {"data.dataset": "--dataset", "epochs": "--epochs", "pairs": "--pairs", "trainer_seeds": "--trainer-seeds"}
"""Settings with an option of their own that does more than set them."""


def load_project() -> tuple[Project, Params]:
    """Return the project around the working folder and its params.yaml, its studies not resolved."""
    project = find_project()
    return project, load_params(project.params)


def open_project(on_this_cpu: bool = False) -> tuple[Project, Params]:
    """Return the same, with every study and exhibit validated.

    `on_this_cpu`: where the profile's device is cpu, this one has to have the precisions of every study.
    """
    project, params = load_project()
    if on_this_cpu:
        begin(params, params.profile)
    every((lambda: _check_plans(validate_all(params), on_this_cpu), lambda: check_exhibits(params)))
    return project, params


def _check_plans(plans: Sequence[StudyPlan], on_this_cpu: bool) -> None:
    if on_this_cpu:
        from lmc_repro.engine.devices import require_precisions

        every(partial(require_precisions, plan, "cpu") for plan in plans if plan.profile_config.device == "cpu")
    named = {cell.path: plan.study for plan in plans for cell in plan.cells}
    for path in named.keys() - {PLAIN_PATH}:
        from lmc_repro.barriers.methods import path_methods  # imports torch

        try:
            path_methods(path)
        except LmcError as error:
            raise LmcError(f"params.yaml: studies.{named[path]}: {error}") from None


def open_study(study: str, profile: str | None) -> tuple[Project, Params, StudyPlan]:
    """Return the project, its params.yaml and the plan of one study, without validating the others."""
    project, params = load_project()
    return project, params, plan_study(params, study, Choice(profile=profile))


def begin(params: Params, profile: str) -> Listener:
    """Set the numerics of this process before torch is imported; return the listener of its progress."""
    begin_process(params, profile, notify := listener())
    return notify


def open_store(uri: str | None) -> tuple[Project, Reader]:
    """Return the project and its store; a store that is named by its URI needs no project."""
    from lmc_repro.tracking.find import Reader

    try:
        project = find_project()
    except LmcError:
        if uri is None:
            raise
        project = Project(Path.cwd())
    return project, Reader.open(project.home, uri)


def parse_settings(texts: Sequence[str], trainer_seeds: str | None = None) -> Settings:
    """Return the settings of `--set KEY=VALUE`, values in YAML, and of `--trainer-seeds 0,1,7`.

    Raises:
        LmcError: For anything that params.yaml would refuse.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise LmcError(f"--set: found {text!r}, allowed: KEY=VALUE, e.g. model.filters=16")
        given = validate(Settings, nested({key: parse_yaml(value, f"--set {key}")}), "--set").given()
        if own := OPTIONS.keys() & given.keys():
            raise LmcError("; ".join(f"--set {name}: use {OPTIONS[name]}" for name in sorted(own)))
        if twice := found.keys() & given.keys():
            raise LmcError(f"--set {', '.join(twice)}: given twice; give it once")
        found |= given
    settings = validate(Settings, nested(found), "--set")
    if trainer_seeds is None:
        return settings
    seeds = parse_yaml(f"[{trainer_seeds}]", "--trainer-seeds")
    return validate(Settings, {"trainer_seeds": seeds}, "--trainer-seeds").over(settings)


def path_config(align: str | None) -> PathConfig:
    """Return the path settings under `--align`."""
    return validate(PathConfig, {} if align is None else {"align": align}, "--align").pinned()


@contextmanager
def parts(notify: Listener) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (what, units done, units in all) that reports one part per `what` to a listener."""
    under_way, before = "", 0

    def on_progress(what: str, done: int, total: int) -> None:
        nonlocal under_way, before
        if what != under_way:
            if under_way:
                notify.end()
            notify.begin(what, total)
            under_way, before = what, 0
        notify.advance(done - before)
        before = done

    try:
        yield on_progress
    finally:
        if under_way:
            notify.end()


def prepare_dataset(
    project: Project, params: Params, name: str, folder: Path, notify: Listener, required: bool = False
) -> None:
    """Prepare a data set below `folder`, from the raw folder, the mirror or a download.

    One that cannot be had is said, and its cells are not run; LmcError where it is `required`.
    """
    from lmc_repro.data.prepare import prepare

    with parts(notify) as on_progress:
        status = prepare(name, folder, project.raw, mirror_of(params), on_progress)
    if status["state"] != "ready":
        line = f"data set {name}: {status['state']}: {status.get('reason')}"
        if required:
            raise LmcError(line)
        notify.line(line)


def ready_dataset(project: Project, params: Params, name: str, notify: Listener) -> Path:
    """Return the folder that holds a data set, prepared first where neither DVC nor another command has done so."""
    prepared = prepared_dir(project, [name])
    if prepared != project.prepared:
        prepare_dataset(project, params, name, prepared, notify)
    return prepared


def dvc_workspace(project: Project, params: Params, study: str, jobs: int | None = None) -> Workspace:
    """Return the workspace of a DVC stage: runs/ and results/ of the project, the active profile."""
    plan = plan_study(params, study)
    notify = begin(params, plan.profile)
    places = project.runs / study, project.results / study, project.prepared
    return make_workspace(project, plan, places, jobs, None, notify)


@contextmanager
def dvc_stage(study: str, jobs: int | None) -> Iterator[Workspace]:
    """Hold the lock of a study's folders, and yield the workspace of its DVC stage, on the engine of LMC_ENGINE."""
    from lmc_repro.engine.cluster import chosen_cluster

    cluster = chosen_cluster()
    workspace = dvc_workspace(*open_project(), study, jobs)
    with study_lock(workspace.project, workspace.runs, workspace.listener):
        yield on_cluster(workspace, cluster, jobs)


def on_cluster(workspace: Workspace, cluster: Cluster | None, jobs: int | None) -> Workspace:
    """Return the workspace on a cluster's machines, at most `jobs` tasks at once, if one is chosen."""
    if cluster is None:
        return workspace
    from lmc_repro.engine.ray import RayEngine

    engine = RayEngine(cluster, workspace.device, workspace.listener.line, jobs)
    return dataclasses.replace(workspace, engine=engine, jobs=engine.jobs)


def make_workspace(
    project: Project,
    plan: StudyPlan,
    places: tuple[Path, Path, Path],
    jobs: int | None,
    device: str | None,
    notify: Listener,
    first_line: str = "",
    tracked: bool = True,
    keep: Keep = "all",
) -> Workspace:
    """Return a study's workspace, its device resolved, while another process imports what workers need.

    LmcError, before `first_line` and any work, for a store that cannot be used and a loader that is not installed.
    `places`: of runs, results and prepared data.
    """
    device = device or plan.profile_config.device
    if tracked:
        from lmc_repro.tracking.store import require_store

        require_store(project)
        if device == "cpu":
            _require_loader(plan)
    if first_line:
        notify.line(first_line)
    from lmc_repro.engine.devices import require_precisions, resolve_device
    from lmc_repro.engine.local import default_jobs, worker_context

    worker_context()
    device = resolve_device(device)
    require_precisions(plan, device)
    if device != "cpu" or not tracked:
        # Streaming through FFCV is the CPU's way; a GPU gathers from its own memory. A machine without tracking has
        # little installed, and the bits are the same.
        cells = tuple(dataclasses.replace(cell, loader="resident") for cell in plan.cells)
        plan = dataclasses.replace(plan, cells=cells)
    _require_loader(plan)
    jobs = jobs or default_jobs(device)
    tag = numerics_tag(device, {config.precision for config in plan.runs})
    return Workspace(project, plan, *places, jobs, device, tag, notify, tracked=tracked, keep=keep)


def _require_loader(plan: StudyPlan) -> None:
    if any(cell.loader == "ffcv" for cell in plan.cells) and not ffcv_installed():
        raise LmcError(
            f"params.yaml: studies.{plan.study}: loader: found 'ffcv', which is not installed: pip install "
            "'lmc_repro[ffcv]'; or set loader: resident, which has the same bits"
        )


def show_report(
    params: Params,
    results: Path,
    folder: Path,
    choices: Mapping[str, Choice],
    shown: Sequence[str],
    as_json: bool = False,
    exhibits: Sequence[str] = (),
    only: Collection[str] | None = None,
) -> None:
    """Write a report of the studies in `choices` below `folder` and print the tables of those in `shown`.

    `only`: in their grids these cells alone; the others are counted.
    """
    from rich.console import Console

    from lmc_repro.report.contents import read_report
    from lmc_repro.report.document import study_section
    from lmc_repro.report.text import print_block, print_overview
    from lmc_repro.report.write import report_json, write_report

    asked = {study: _asked(params, results / study, choice) for study, choice in choices.items()}
    report = read_report(results, asked, [read_exhibit(results / key) for key in exhibits])
    write_report(report, folder)
    if as_json:
        print(report_json(report))
        return
    console = Console()
    if len(report.parts) > 1:
        print_overview(report, console)
    there = [part.study for part in report.parts if part.table is not None]
    for part in report.parts:
        if part.study in shown or there == [part.study]:
            print_block(study_section(part, only=only), console)
    for exhibit in report.exhibits:
        if exhibit.key in shown:
            print_block(exhibit.section, console)
    if len(there) > 1 and not shown:
        print(f"tables: lmc report {' '.join(there)}")
    print(f"report: {folder / 'index.html'}")


def _asked(params: Params, results: Path, choice: Choice) -> Asked:
    """Return the report's facts of a study besides its results; for a plan that cannot be made, the reason."""
    from lmc_repro.config.reported import reported_claim
    from lmc_repro.report.contents import Asked

    study = results.name
    config = params.studies[study]
    asked = Asked(config.title, reported_table(config), reported_claim(study), choice.profile or params.profile)
    done: set[str] = set()
    with suppress(OSError, ValueError, KeyError, TypeError):  # the reader of results names what is damaged
        done.update(entry["cell"] for entry in json.loads((results / "cells.json").read_bytes()))
    try:
        if left := [cell for cell in plan_study(params, study, choice).cells if cell.key not in done]:
            from lmc_repro.pipeline.costs import planned_cells  # imports torch

            return dataclasses.replace(asked, planned=planned_cells(left))
    except LmcError as error:
        return dataclasses.replace(asked, unplanned=str(error))
    return asked


def say(record: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print a command's findings: as JSON, NaN refused, or as lines."""
    print(json.dumps(record, indent=2, allow_nan=False) if as_json else "\n".join(lines))
