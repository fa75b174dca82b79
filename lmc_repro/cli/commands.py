"""What the commands do: validate everything first, then call the steps of studies."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_repro.cli.progress import Parts, listener
from lmc_repro.data.catalog import dataset_info
from lmc_repro.errors import LmcError
from lmc_repro.exhibits.check import check_exhibits
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
    study_turn,
)

if TYPE_CHECKING:
    from lmc_repro.report.contents import Asked


def check_command(mark: Path | None, plans: Path | None) -> None:
    """Validate params.yaml; `mark` gets the names of the data sets in use, and nothing that any other edit changes.

    `plans` gets a file for each study and exhibit, which changes when what params.yaml says of it does.
    """
    project, params = _open()
    print(f"{project.params.name}: valid, profile {params.profile}, studies: {', '.join(params.studies)}")
    print(f"exhibits: {', '.join(params.exhibits) or 'none'}")
    if mark is not None:
        write_atomic(mark, f"valid, data sets: {', '.join(params.profiles[params.profile].datasets)}\n".encode())
    if plans is not None:
        from lmc_repro.cli.plans import write_plans

        write_plans(params, plans)


def prepare_command(name: str, if_used: bool) -> None:
    """Prepare one data set below data/prepared."""
    project, params = _open()
    dataset_info(name)
    if not if_used or name in params.profiles[params.profile].datasets:
        prepare_dataset(project, params, name, project.prepared, listener())
        return
    from lmc_repro.data.folder import note_unused  # imports no torch: DVC asks for every data set

    print(f"data set {name}: unused: {note_unused(name, project.prepared).get('reason')}", file=sys.stderr)


def train_command(study: str, jobs: int | None) -> None:
    """Train a study of the active profile into runs/<study>."""
    workspace = _dvc_workspace(*_open(), study, jobs)
    from lmc_repro.studies.train import train_study

    with study_turn(workspace.project, workspace.runs, workspace.listener):
        print(train_study(workspace))


def compare_command(study: str, jobs: int | None, for_two: bool = False) -> None:
    """Compare a study of the active profile into results/<study>; `for_two`: an option of two runs was given."""
    if for_two:
        raise LmcError(
            "--points, --tracking-uri, --json: these are for two runs, `lmc compare RUN_A RUN_B`; a study has `points` "
            "in params.yaml and MLFLOW_TRACKING_URI, and `lmc report --json` prints it"
        )
    if re.fullmatch("[0-9a-f]{32}", study):
        raise LmcError(f"{study}: a second run id is missing; `lmc compare RUN_A RUN_B`, ids from `lmc show`")
    workspace = _dvc_workspace(*_open(), study, jobs)
    from lmc_repro.studies.compare import compare_study

    with study_turn(workspace.project, workspace.runs, workspace.listener):
        results = compare_study(workspace)
    print(f"compared {sum(len(r.pairs) for r in results.values())} pairs in {len(results)} cells: {workspace.results}")


def link_command() -> None:
    """Link what `dvc repro` left as it was to the MLflow project's run that asked for it."""
    project, params = _open()
    for study in params.studies:
        workspace = _dvc_workspace(project, params, study, None)
        from lmc_repro.report.read import has_results
        from lmc_repro.studies.compare import link_study

        if has_results(workspace.results):
            link_study(workspace)


def report_command(studies: tuple[str, ...] = (), as_json: bool = False) -> None:
    """Write report/ from results/ and print the overview, and the tables of `studies` (or of the only one)."""
    project, params = _open()
    for study in studies:
        if study not in params.exhibits:
            plan_study(params, study)  # a name that is not there is said before any work
    choices = dict.fromkeys(params.studies, Choice())
    _report(params, project.results, project.report, choices, studies, as_json, tuple(params.exhibits))


def run_command(study: str, choice: Choice, jobs: int | None, dry_run: bool, out: Path | None) -> None:
    """Do all steps of one study below out/."""
    project, params = _open()
    plan = plan_study(params, study, choice)
    begin_process(params, plan.profile, told := listener())
    if dry_run:
        from lmc_repro.cli.dry_run import print_costs

        print_costs(plan, jobs, choice.device)
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

    with study_turn(project, folder, told):
        counts = train_study(workspace)
        compare_study(workspace)
        # Of the cells that could have been chosen, those that were not are named with their cost.
        whole = dataclasses.replace(choice, rows=(), columns=())
        _report(params, folder / "results", folder / "report", {study: whole}, (study,))
    print(f"{counts} in {time.monotonic() - begun:.0f} s; results in {folder}")


def reproduction_command(folder: Path | None, profile: str) -> None:
    """Print docs/reproduction.md from the results that are kept beside it."""
    project, params = _open()
    folder = folder or project.root / "docs" / "reproduction"
    if not folder.is_dir():
        raise LmcError(f"{folder}: no such folder; name one with STUDY/PART/{{runs.json,cells.json,curves.csv}}")
    begin_process(params, profile, listener())
    from lmc_repro.report.reproduction import NOTES, Section, read_parts, read_text, reproduction_page
    from lmc_repro.studies.costs import planned_cells
    from lmc_repro.studies.reported import reported_claim

    sections = []
    for study, config in params.studies.items():
        planned = planned_cells(plan_study(params, study, Choice(profile=profile)))
        parts, notes = read_parts(folder / study), read_text(folder / study / NOTES)
        claim = reported_claim(study)
        sections.append(Section(study, config.title, config.question, planned, parts, notes, claim))
    print(reproduction_page(sections, read_text(folder / NOTES)), end="")


def _open() -> tuple[Project, Params]:
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
    from lmc_repro.execution.workers import begin_early

    begin_early()
    from lmc_repro.execution.pool import default_jobs
    from lmc_repro.training.precision import require_precision

    resolved = resolve_device(device or plan.profile_config.device)
    require_precision(plan.runs, resolved)
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


def _report(
    params: Params,
    results: Path,
    folder: Path,
    choices: dict[str, Choice],
    shown: tuple[str, ...],
    as_json: bool = False,
    exhibits: tuple[str, ...] = (),
) -> None:
    """Write a report of the studies in `choices` below `folder` and print the tables of those in `shown`."""
    from rich.console import Console

    from lmc_repro.report.contents import read_report
    from lmc_repro.report.exhibits import exhibit_sections, print_exhibit
    from lmc_repro.report.json_tables import report_json
    from lmc_repro.report.terminal import print_overview, print_study
    from lmc_repro.report.write import write_report

    asked = {study: _asked(params, study, choice) for study, choice in choices.items()}
    report = read_report(results, asked, exhibit_sections(results, exhibits))
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
            print_study(part, console)
    for key in exhibits:
        if key in shown:
            print_exhibit(results / key, console)
    if len(there) > 1 and not shown:
        print(f"tables: lmc report {' '.join(there)}")
    print(f"report: {folder / 'index.html'}")


def _asked(params: Params, study: str, choice: Choice) -> Asked:
    """Return what the report is to know of a study besides its results; a plan that cannot be made is its reason."""
    from lmc_repro.report.contents import Asked
    from lmc_repro.studies.costs import planned_cells
    from lmc_repro.studies.reported import reported_claim

    config = params.studies[study]
    asked = Asked(config.title, reported_table(config), reported_claim(study), choice.profile or params.profile)
    try:
        return dataclasses.replace(asked, planned=planned_cells(plan_study(params, study, choice)))
    except LmcError as error:
        return dataclasses.replace(asked, unplanned=str(error))
