"""What commands begin with: the validated project, a prepared data set, a workspace for a study."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lmc_repro.cli.progress import Parts, listener
from lmc_repro.exhibits.exhibit import check_exhibits
from lmc_repro.project import Project, find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.studies.expand import plan_study, validate_all
from lmc_repro.studies.workspace import Listener, Workspace, begin_process, mirror_of, process_tag, resolve_device


def open_project() -> tuple[Project, Params]:
    """Return the project around the working folder and its params.yaml, all of it validated."""
    project = find_project()
    params = load_params(project.params)
    validate_all(params)
    check_exhibits(params)
    return project, params


def prepare_dataset(project: Project, params: Params, name: str, folder: Path, told: Listener) -> None:
    """Prepare a data set below `folder`, from the raw folder, the mirror or a download."""
    from lmc_repro.data.prepare import prepare

    parts = Parts(told)
    try:
        status = prepare(name, folder, project.raw, mirror_of(params), parts.on_progress)
    finally:
        parts.end()
    if status["state"] != "ready":
        told.line(f"data set {name}: {status['state']}: {status.get('reason')}")


def dvc_workspace(project: Project, params: Params, study: str, jobs: int | None) -> Workspace:
    """Return that of a stage of the pipeline: runs/ and results/ of the project, the profile of params.yaml."""
    plan = plan_study(params, study)
    begin_process(params, plan.profile, told := listener())
    runs, results = project.runs / study, project.results / study
    return make_workspace(project, plan, runs, results, project.prepared, jobs, None, told)


def make_workspace(
    project: Project,
    plan: StudyPlan,
    runs: Path,
    results: Path,
    prepared: Path,
    jobs: int | None,
    device: str | None,
    told: Listener,
    tracked: bool = True,
) -> Workspace:
    """Return what a study is computed in, its device resolved, while another process imports what workers need."""
    from lmc_repro.execution.workers import begin_early

    begin_early()
    from lmc_repro.execution.pool import default_jobs
    from lmc_repro.training.precision import require_precision

    resolved = resolve_device(device or plan.profile_config.device)
    require_precision(plan.runs, resolved)
    if resolved != "cpu" or not tracked:
        # Streaming through FFCV is the CPU's way; a GPU gathers from its own memory. A machine without tracking has
        # little installed, and the bits are the same.
        cells = tuple(dataclasses.replace(cell, loader="resident") for cell in plan.cells)
        plan = dataclasses.replace(plan, cells=cells)
    return Workspace(
        project=project,
        plan=plan,
        runs=runs,
        results=results,
        prepared=prepared,
        jobs=jobs or default_jobs(),
        device=resolved,
        tag=process_tag(resolved),
        listener=told,
        tracked=tracked,
    )
