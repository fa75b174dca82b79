"""Commands that compute studies: check, prepare, train, compare, run, and the hidden link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmc_repro.cli import options as opt

if TYPE_CHECKING:
    from lmc_repro.config.plan import StudyPlan
    from lmc_repro.config.study import Judgement
    from lmc_repro.notebook.compare_runs import TwoRuns


def check(
    mark: Annotated[Path | None, typer.Option(help="Write this file if all is well (for DVC).")] = None,
    plans: Annotated[
        Path | None, typer.Option(help="Write what each study and exhibit resolves to into this folder (for DVC).")
    ] = None,
) -> None:
    """Check params.yaml and every study in it; do nothing else.

    Names the wrong key, the value found and the values allowed. The first stage of DVC: DVC deletes the outputs of a
    stage before it runs the stage, so mistakes have to show before.
    """
    from lmc_repro.cli.session import open_project
    from lmc_repro.common.files import write_atomic

    project, params = open_project()
    print(f"{project.params.name}: valid, profile {params.profile}, studies: {', '.join(params.studies)}")
    print(f"exhibits: {', '.join(params.exhibits) or 'none'}")
    if mark is not None:  # holds the data sets in use, and nothing that any other edit changes
        write_atomic(mark, f"valid, data sets: {', '.join(params.profiles[params.profile].datasets)}\n".encode())
    if plans is not None:
        from lmc_repro.cli.plans import require_listed, write_plans

        write_plans(params, plans)
        require_listed(plans, project.root / "dvc.yaml")


def prepare(
    dataset: Annotated[str, typer.Argument(help="digits, mnist, cifar10, cifar100, tinyimagenet, or FILE.py:NAME.")],
    if_used: Annotated[
        bool, typer.Option("--if-used", help="Only note `unused` where the active profile does not use it (for DVC).")
    ] = False,
) -> None:
    """Fetch a data set, check it, and write it for both loaders.

    Takes files from data/raw, then from the folder that LMC_DATA_MIRROR or data.mirror names (torchvision's layout, or
    the publishers' archives), then downloads them. Writes data/prepared/DATASET/{train,test}.{beton,safetensors} and
    status.json.
    """
    from lmc_repro.cli.progress import listener
    from lmc_repro.cli.session import open_project, prepare_dataset
    from lmc_repro.config.catalog import dataset_info

    project, params = open_project()
    dataset = dataset_info(dataset).name
    if not if_used or dataset in params.profiles[params.profile].datasets:
        prepare_dataset(project, params, dataset, project.prepared, listener())
        return
    from lmc_repro.data.status import note_unused  # imports no torch: DVC asks for every data set

    reason = note_unused(dataset, project.prepared).get("reason")
    typer.echo(f"data set {dataset}: unused: {reason}", err=True)


def train(study: opt.Study, jobs: opt.Jobs = None) -> None:
    """Train the runs of a study that are not finished yet.

    A stage of DVC, into runs/STUDY. Reuses finished runs, whichever study or command trained them, and resumes
    interrupted ones from their last checkpoint. `lmc run STUDY` does this and all that follows.
    """
    from lmc_repro.cli.session import dvc_workspace, open_project
    from lmc_repro.pipeline.workspace import study_lock

    workspace = dvc_workspace(*open_project(), study, jobs)
    from lmc_repro.pipeline.train import train_study

    with study_lock(workspace.project, workspace.runs, workspace.listener):
        print(train_study(workspace))


def compare(
    study: Annotated[str, typer.Argument(metavar="STUDY | RUN_A", help="A study of params.yaml, or a run id.")],
    run_b: Annotated[str | None, typer.Argument(metavar="[RUN_B]", help="A second run id.")] = None,
    points: Annotated[int | None, typer.Option(min=3, help="Two runs: alphas on the path, ends included.")] = None,
    align: opt.Align = None,
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
    jobs: opt.Jobs = None,
) -> None:
    """Compare the runs of a study, or any two trainings.

    A study (a stage of DVC): pairs its runs found in MLflow, measures the error along the line between each two, and
    writes results/STUDY. Runs that runs/STUDY holds and MLflow does not are published first.

    Two runs, `lmc compare RUN_A RUN_B`: loads their last checkpoints from MLflow, checks that they fit together
    (architecture, data, noise or initialisation that differs), measures the path on the prepared data and prints it;
    writes nothing. --points 101 shows what 11 points miss. `lmc list STUDY` and `lmc show CELL_ID` print the ids.
    """
    import re

    from lmc_repro.cli.session import dvc_workspace, open_project
    from lmc_repro.common.errors import LmcError
    from lmc_repro.pipeline.workspace import study_lock

    if run_b is not None:
        _compare_two(study, run_b, points, align, tracking_uri, as_json)
        return
    if points is not None or align is not None or tracking_uri is not None or as_json:
        raise LmcError(
            "--points, --align, --tracking-uri, --json: these are for two runs, `lmc compare RUN_A RUN_B`; a study has "
            "`points` and `align` in params.yaml and MLFLOW_TRACKING_URI, and `lmc report --json` prints it"
        )
    if re.fullmatch("[0-9a-f]{32}", study):
        raise LmcError(f"{study}: a second run id is missing; `lmc compare RUN_A RUN_B`, ids from `lmc show`")
    workspace = dvc_workspace(*open_project(), study, jobs)
    from lmc_repro.pipeline.compare import compare_study

    with study_lock(workspace.project, workspace.runs, workspace.listener):
        results = compare_study(workspace)
    print(f"compared {sum(len(r.pairs) for r in results.values())} pairs in {len(results)} cells: {workspace.results}")


def _compare_two(run_a: str, run_b: str, points: int | None, align: str | None, uri: str | None, as_json: bool) -> None:
    """Measure and print the path between two trainings."""
    from lmc_repro.cli.session import begin, open_project, path_config, print_json, ready_dataset

    path = path_config(align)
    project, params = open_project()
    profile = params.profiles[params.profile]
    told = begin(params, params.profile)
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.notebook.compare_runs import check_fit, compare_runs, find_end
    from lmc_repro.report.path_text import path_lines
    from lmc_repro.tracking.find import Reader

    reader = Reader.open(project.root, uri)
    ends = find_end(reader, run_a), find_end(reader, run_b)
    prepared = ready_dataset(project, params, ends[0].config.data.dataset, told)
    check_fit(*ends, prepared)
    found = compare_runs(reader, ends, prepared, points or profile.points, path)
    record = _record(found, profile.judgement) | path.given()
    if as_json:
        print_json(record)
        return
    for i, end in enumerate(record["runs"]):
        seeds = ", ".join(f"{name} {seed}" for name, seed in end["seeds"].items() if seed is not None)
        print(f"theta_{i}: {end['name']}, {end['status']}, epoch {end['epoch']}, seeds: {seeds}, run {end['run_id']}")
    other = "" if record["kind"] == "noise" else "different initialisations; "
    print(f"{other}{record['points']} points on {record['dataset']}, in percentage points:")
    if align is not None:
        print(f"theta_1 is aligned by {align}")
    for key, (first, second) in record["differences"].items():
        print(f"the runs differ in {key}: {first} and {second}")
    print("\n".join(path_lines({split: record[split] for split in SPLITS}, record["threshold"])))


def _record(found: TwoRuns, judgement: Judgement) -> dict[str, Any]:
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.report.path_text import split_records

    info, final = dataset_info(found.ends[0].config.data.dataset), found.result.final
    runs = [
        {
            "run_id": end.run.run_id,
            "name": end.name,
            "fingerprint": end.run.fingerprint,
            "status": status,
            "epoch": end.config.epochs,
            "seeds": {k.removeprefix("seeds."): v for k, v in end.config.flat().items() if k.startswith("seeds.")},
        }
        for end, status in zip(found.ends, final.status, strict=True)
    ]
    return {
        "runs": runs,
        "kind": found.kind,
        "differences": found.differences,
        "dataset": info.name,
        "points": found.points,
        "threshold": judgement.threshold,
        "distance": found.result.distance,
        "cosine": found.result.cosine,
        "disagreement": found.result.disagreement,
        **split_records(final, judgement, info.classes),
    }


def link() -> None:
    """Link the run of `mlflow run . -e repro` to every study's cells, including those DVC did not rerun."""
    from lmc_repro.cli.session import dvc_workspace, open_project

    project, params = open_project()
    for study in params.studies:
        workspace = dvc_workspace(project, params, study, None)
        from lmc_repro.pipeline.compare import link_study
        from lmc_repro.results.read import has_results

        if has_results(workspace.results):
            link_study(workspace)


def run(
    study: opt.Study,
    profile: opt.Profile = None,
    row: opt.Row = None,
    column: opt.Column = None,
    pairs: opt.Pairs = None,
    replicas: opt.Replicas = None,
    dataset: opt.Dataset = None,
    width: opt.Width = None,
    epochs: opt.Epochs = None,
    set_: opt.Set = None,
    jobs: opt.Jobs = None,
    device: opt.Device = None,
    dry_run: opt.DryRun = False,
    out: Annotated[Path | None, typer.Option(help="Folder in place of out/PROFILE/STUDY.")] = None,
    no_tracking: Annotated[bool, typer.Option("--no-tracking", help="Use neither MLflow nor the report.")] = False,
    keep: Annotated[
        str, typer.Option(help="Checkpoints that stay in the run folders: all, last or none; needs --no-tracking.")
    ] = "all",
) -> None:
    """Prepare, train, compare and report one study, without DVC.

    Writes out/PROFILE/STUDY and leaves DVC's outputs alone. Reuses finished runs, whoever trained them, and resumes
    interrupted ones from their last checkpoint. --set takes what a study's base, rows and columns may hold, written as
    in params.yaml: --set init=kaiming-normal --set 'augment={flip: true}'.

    With --no-tracking on a machine without MLflow: carry the folder here, and `lmc publish FOLDER` fills the store.
    """
    import dataclasses
    import time
    from typing import cast, get_args

    from lmc_repro.cli.session import begin, make_workspace, open_project, parse_settings, prepare_dataset, show_report
    from lmc_repro.common.errors import LmcError
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.pipeline.workspace import prepared_dir, study_lock
    from lmc_repro.training.run_folder import Keep

    if keep not in get_args(Keep):
        raise LmcError(f"--keep: found {keep!r}, allowed: {', '.join(get_args(Keep))}")
    if not no_tracking and keep != "all":
        raise LmcError(f"--keep {keep}: MLflow reads all weights of the run folders; give --no-tracking too")
    given, narrowed = parse_settings(set_ or ()), (tuple(row or ()), tuple(column or ()))
    choice = Choice(profile, *narrowed, pairs, replicas, epochs, dataset, width, device, given)
    project, params = open_project()
    plan = plan_study(params, study, choice)
    told = begin(params, plan.profile)
    if dry_run:
        _print_costs(plan, jobs, device)
        return
    begun = time.monotonic()
    folder = out or project.out / plan.profile / study
    names = sorted({cell.config["data"]["dataset"] for cell in plan.cells})
    prepared = prepared_dir(project, names)
    for name in names:
        if not no_tracking or prepared != project.prepared:  # all are ready there; a bare machine reads no images
            prepare_dataset(project, params, name, prepared, told)
    results = folder / "results" / study
    workspace = make_workspace(
        project, plan, folder / "runs", results, prepared, jobs, device, told, not no_tracking, cast("Keep", keep)
    )
    from lmc_repro.pipeline.compare import compare_study
    from lmc_repro.pipeline.train import train_study

    with study_lock(project, folder, told):
        counts = train_study(workspace)
        compare_study(workspace)
        if no_tracking:
            print(f"{counts} in {time.monotonic() - begun:.0f} s, checkpoints kept: {keep}; results in {folder}")
            return
        # Of the cells that could have been chosen, those that were not are named with their cost.
        whole = dataclasses.replace(choice, rows=(), columns=())
        show_report(params, folder / "results", folder / "report", {study: whole}, (study,))
    print(f"{counts} in {time.monotonic() - begun:.0f} s; results in {folder}")


def _print_costs(plan: StudyPlan, jobs: int | None, device: str | None) -> None:
    """Print runs, pairs, FLOPs, minutes, memory and disk of a study from the start, on this machine."""
    from lmc_repro.engine.costs import (
        PROCESS_BYTES,
        comparison_cost,
        estimate,
        measure_gflops,
        processes_that_fit,
    )
    from lmc_repro.engine.devices import resolve_device
    from lmc_repro.engine.local import default_jobs
    from lmc_repro.engine.stacks import Work, plan_stacks

    device = resolve_device(device or plan.profile_config.device)
    jobs = 1 if device == "cuda" else jobs or default_jobs()
    gflops = measure_gflops()
    cost = estimate(plan.runs, gflops)
    minutes = cost.seconds / jobs / 60
    print(f"{plan.study}, profile {plan.profile}: {len(plan.cells)} cells, {cost.runs} runs")
    print(f"training: {cost.flops:.2e} FLOPs, about {minutes:.0f} min in {jobs} processes ({gflops:.0f} GF/s each)")
    pairs, flops, seconds = comparison_cost(plan, gflops)
    print(f"comparing: {pairs} pairs, {flops:.2e} FLOPs, about {seconds / jobs / 60:.0f} min")
    work = [Work(f"{cell.key} {i}", run, cell.loader) for cell in plan.cells for i, run in enumerate(cell.runs)]
    # Equal runs of two cells are trained once: a stack may be smaller than is said here, never larger.
    tasks = plan_stacks(work, jobs, Path(), Path(), "", device)
    needs = sorted((task.memory for task in tasks), reverse=True)
    at_once = processes_that_fit(needs, jobs) if device == "cpu" else 1
    held = sum(needs[:at_once]) + at_once * PROCESS_BYTES
    print(f"memory: {len(tasks)} stacks, {at_once} at once, at most {held / 1e9:.1f} GB")
    print(f"checkpoints: {cost.disk_bytes / 1e6:.0f} MB in runs, as much in MLflow; under dvc repro also in its cache")
