"""What the stages and `lmc run` do: validate everything first, then call the steps of studies."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from pathlib import Path
from typing import cast, get_args

from lmc_repro.cli.begin import dvc_workspace, make_workspace, open_project, prepare_dataset
from lmc_repro.cli.progress import listener
from lmc_repro.cli.reports import show_report
from lmc_repro.data.catalog import dataset_info
from lmc_repro.errors import LmcError
from lmc_repro.files import write_atomic
from lmc_repro.studies.expand import Choice, plan_study
from lmc_repro.studies.workspace import begin_process, prepared_dir, study_lock
from lmc_repro.training.run_folder import Keep


def check_command(mark: Path | None, plans: Path | None) -> None:
    """Validate params.yaml; `mark` gets the names of the data sets in use, and nothing that any other edit changes.

    `plans` gets a file for each study and exhibit, which changes when what params.yaml says of it does.
    """
    project, params = open_project()
    print(f"{project.params.name}: valid, profile {params.profile}, studies: {', '.join(params.studies)}")
    print(f"exhibits: {', '.join(params.exhibits) or 'none'}")
    if mark is not None:
        write_atomic(mark, f"valid, data sets: {', '.join(params.profiles[params.profile].datasets)}\n".encode())
    if plans is not None:
        from lmc_repro.cli.plans import write_plans

        write_plans(params, plans)


def prepare_command(name: str, if_used: bool) -> None:
    """Prepare one data set below data/prepared."""
    project, params = open_project()
    dataset_info(name)
    if not if_used or name in params.profiles[params.profile].datasets:
        prepare_dataset(project, params, name, project.prepared, listener())
        return
    from lmc_repro.data.folder import note_unused  # imports no torch: DVC asks for every data set

    print(f"data set {name}: unused: {note_unused(name, project.prepared).get('reason')}", file=sys.stderr)


def train_command(study: str, jobs: int | None) -> None:
    """Train a study of the active profile into runs/<study>."""
    workspace = dvc_workspace(*open_project(), study, jobs)
    from lmc_repro.studies.train import train_study

    with study_lock(workspace.project, workspace.runs, workspace.listener):
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
    workspace = dvc_workspace(*open_project(), study, jobs)
    from lmc_repro.studies.compare import compare_study

    with study_lock(workspace.project, workspace.runs, workspace.listener):
        results = compare_study(workspace)
    print(f"compared {sum(len(r.pairs) for r in results.values())} pairs in {len(results)} cells: {workspace.results}")


def link_command() -> None:
    """Link what `dvc repro` left as it was to the MLflow project's run that asked for it."""
    project, params = open_project()
    for study in params.studies:
        workspace = dvc_workspace(project, params, study, None)
        from lmc_repro.results.read import has_results
        from lmc_repro.studies.compare import link_study

        if has_results(workspace.results):
            link_study(workspace)


def run_command(
    study: str, choice: Choice, jobs: int | None, dry_run: bool, out: Path | None, tracked: bool, keep: str
) -> None:
    """Do all steps of one study below out/; without `tracked` all but MLflow and the report."""
    if keep not in get_args(Keep):
        raise LmcError(f"--keep: found {keep!r}, allowed: {', '.join(get_args(Keep))}")
    if tracked and keep != "all":
        raise LmcError(f"--keep {keep}: MLflow reads all weights of the run folders; give --no-tracking too")
    project, params = open_project()
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
        if tracked or prepared != project.prepared:  # all are ready there; a bare machine has no readers of images
            prepare_dataset(project, params, name, prepared, told)
    workspace = make_workspace(
        project, plan, folder / "runs", folder / "results" / study, prepared, jobs, choice.device, told, tracked
    )
    workspace = dataclasses.replace(workspace, keep=cast("Keep", keep))
    from lmc_repro.studies.compare import compare_study
    from lmc_repro.studies.train import train_study

    with study_lock(project, folder, told):
        counts = train_study(workspace)
        compare_study(workspace)
        if not tracked:
            print(f"{counts} in {time.monotonic() - begun:.0f} s, checkpoints kept: {keep}; results in {folder}")
            return
        # Of the cells that could have been chosen, those that were not are named with their cost.
        whole = dataclasses.replace(choice, rows=(), columns=())
        show_report(params, folder / "results", folder / "report", {study: whole}, (study,))
    print(f"{counts} in {time.monotonic() - begun:.0f} s; results in {folder}")
