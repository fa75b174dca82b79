"""What the commands do: validate everything first, then call the steps of studies."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

from lmc_repro.cli.progress import listener
from lmc_repro.data.catalog import CATALOG, dataset_info
from lmc_repro.errors import LmcError
from lmc_repro.files import write_atomic
from lmc_repro.project import Project, find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.studies.expand import Choice, plan_study, reported_table, validate_all
from lmc_repro.studies.workspace import (
    Listener,
    Workspace,
    begin_process,
    mirror_of,
    prepared_dir,
    process_tag,
    resolve_device,
)


def check_command(mark: Path | None) -> None:
    """Validate params.yaml; `mark` gets a text that never changes, so that nothing is made again because of it."""
    project, params = _open()
    print(f"{project.params.name}: valid, profile {params.profile}, studies: {', '.join(params.studies)}")
    if mark is not None:
        write_atomic(mark, b"params.yaml is valid\n")


def prepare_command(name: str, if_used: bool) -> None:
    """Prepare one data set below data/prepared."""
    project, params = _open()
    dataset_info(name)
    used = not if_used or name in params.profiles[params.profile].datasets
    prepare_dataset(project, params, name, project.prepared, listener(), used)


def train_command(study: str, jobs: int | None) -> None:
    """Train a study of the active profile into runs/<study>."""
    workspace = _dvc_workspace(*_open(), study, jobs)
    from lmc_repro.studies.train import train_study  # after the numerics mode is set: it imports torch

    print(train_study(workspace))


def compare_command(study: str, jobs: int | None, for_two: bool = False) -> None:
    """Compare a study of the active profile into results/<study>; `for_two`: an option of two runs was given."""
    if for_two:
        raise LmcError(
            "--points, --tracking-uri, --json: these are for two runs, `lmc compare RUN_A RUN_B`; a study has `points` "
            "in params.yaml and MLFLOW_TRACKING_URI, and `lmc report --json` prints it"
        )
    if re.fullmatch("[0-9a-f]{32}", study):
        raise LmcError(
            f"{study}: a second run id is missing; `lmc compare RUN_A RUN_B`, ids from `lmc show`"
        )
    workspace = _dvc_workspace(*_open(), study, jobs)
    from lmc_repro.studies.compare import compare_study

    results = compare_study(workspace)
    print(f"compared {sum(len(r.pairs) for r in results.values())} pairs in {len(results)} cells: {workspace.results}")


def link_command() -> None:
    """Link what `dvc repro` left as it was to the MLflow project's run that asked for it."""
    project, params = _open()
    for study in params.studies:
        workspace = _dvc_workspace(project, params, study, None)
        from lmc_repro.report.read import has_results  # after the numerics mode is set: both import torch
        from lmc_repro.studies.compare import link_study

        if has_results(workspace.results):
            link_study(workspace)


def report_command(as_json: bool = False) -> None:
    """Write report/ from results/ and print the tables."""
    project, params = _open()
    _report(params, project.results, project.report, tuple(params.studies), as_json)


def run_command(study: str, choice: Choice, jobs: int | None, dry_run: bool, out: Path | None) -> None:
    """Do all steps of one study below out/."""
    project, params = _open()
    plan = plan_study(params, study, choice)
    begin_process(params, plan.profile, told := listener())
    if dry_run:
        _dry_run(plan, jobs)
        return
    begun = time.monotonic()
    folder = out or project.out / plan.profile / study
    names = sorted({cell.config["data"]["dataset"] for cell in plan.cells})
    prepared = prepared_dir(project, names)
    for name in names:
        prepare_dataset(project, params, name, prepared, told)
    workspace = _workspace(
        project, plan, folder / "runs", folder / "results" / study, prepared, jobs, choice.device, told
    )
    from lmc_repro.studies.compare import compare_study
    from lmc_repro.studies.train import train_study

    counts = train_study(workspace)
    compare_study(workspace)
    _report(params, folder / "results", folder / "report", (study,))
    print(f"{counts} in {time.monotonic() - begun:.0f} s; results in {folder}")


def reproduction_command(study: str, results: Path, machine: str, notes: Path | None) -> None:
    """Print docs/reproduction.md of one study."""
    _, params = _open()
    paper = reported_table(plan_study(params, study).study_config)
    if notes is not None and not notes.is_file():
        raise LmcError(f"--notes {notes}: no such file; leave it out or name a Markdown file")
    from lmc_repro.report.read import read_study
    from lmc_repro.report.reproduction import reproduction_page

    text = notes.read_text(encoding="utf-8") if notes else ""
    print(reproduction_page(read_study(results), paper, machine, text), end="")


def _open() -> tuple[Project, Params]:
    project = find_project()
    params = load_params(project.params)
    validate_all(params)
    return project, params


def prepare_dataset(
    project: Project, params: Params, name: str, folder: Path, told: Listener, used: bool = True
) -> None:
    """Prepare a data set below `folder`, from the raw folder, the mirror or a download."""
    from lmc_repro.data.prepare import prepare

    status = prepare(name, folder, project.raw, mirror_of(params) if CATALOG[name].files else None, used=used)
    if status["state"] != "ready":
        told.line(f"data set {name}: {status['state']}: {status.get('reason')}")


def _dvc_workspace(project: Project, params: Params, study: str, jobs: int | None) -> Workspace:
    plan = plan_study(params, study)
    begin_process(params, plan.profile, told := listener())
    runs, results = project.runs / study, project.results / study
    return _workspace(project, plan, runs, results, project.prepared, jobs, None, told)


def _workspace(
    project: Project,
    plan: StudyPlan,
    runs: Path,
    results: Path,
    prepared: Path,
    jobs: int | None,
    device: str | None,
    told: Listener,
) -> Workspace:
    from lmc_repro.execution.pool import default_jobs

    if device not in (None, "auto", "cpu", "cuda"):
        raise LmcError(f"--device: found {device!r}, allowed: auto, cpu, cuda")
    resolved = resolve_device(device or plan.profile_config.device)
    if resolved != "cpu":
        # Streaming through FFCV is the CPU's way; a GPU gathers from its own memory.
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
    )


def _report(params: Params, results: Path, folder: Path, studies: tuple[str, ...], as_json: bool = False) -> None:
    from rich.console import Console

    from lmc_repro.report.json_tables import tables_json
    from lmc_repro.report.read import has_results, read_study
    from lmc_repro.report.table import study_table
    from lmc_repro.report.terminal import print_table
    from lmc_repro.report.write import write_report

    paper = {study: reported_table(params.studies[study]) for study in studies}
    write_report(results, folder, studies, paper)
    if as_json:
        there = [study for study in studies if has_results(results / study)]
        print(tables_json([study_table(read_study(results / study), paper[study]) for study in there]))
        return
    for study in studies:
        if has_results(results / study):
            print_table(study_table(read_study(results / study), paper[study]), Console())
    print(f"report: {folder / 'index.html'}")


def _dry_run(plan: StudyPlan, jobs: int | None) -> None:
    from lmc_repro.execution.estimate import estimate, measure_gflops
    from lmc_repro.execution.pool import default_jobs

    jobs = jobs or default_jobs()
    gflops = measure_gflops()
    cost = estimate(plan.runs, gflops)
    minutes = cost.seconds / jobs / 60
    print(f"{plan.study}, profile {plan.profile}: {len(plan.cells)} cells, {cost.runs} runs")
    print(f"training: {cost.flops:.2e} FLOPs, about {minutes:.0f} min in {jobs} processes ({gflops:.0f} GF/s each)")
    print(f"checkpoints: {cost.disk_bytes / 1e6:.0f} MB in runs, as much in MLflow; under dvc repro also in its cache")
