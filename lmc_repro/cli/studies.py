"""Commands that compute studies, and compute them again: from check to run, verify, reproduce, the hidden link."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, cast, get_args

from typer import Argument, Exit, Option, echo

from lmc_repro.cli import options as opt
from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError, choices
from lmc_repro.common.files import write_atomic, write_json
from lmc_repro.common.progress import listener
from lmc_repro.common.project import missing_git
from lmc_repro.common.words import counted


def check(
    mark: Annotated[Path | None, Option(metavar="FILE", help="Write this file if all is well (for DVC).")] = None,
    plans: Annotated[
        Path | None,
        Option(metavar="DIR", help="Write what each study and exhibit resolves to into this folder (for DVC)."),
    ] = None,
) -> None:
    """Check params.yaml and every study in it; do nothing else.

    Names every wrong key in a line of its own, with the value found and the values allowed. Once all keys are right,
    checks how they go together, and that this CPU has every precision where the profile's device is cpu. Also names a
    store whose addresses are those of another folder, from which the project was moved or copied, and a missing git
    repository. It is the first stage of DVC, which deletes the outputs of a stage before it runs it, so mistakes have
    to show before.
    """
    from lmc_repro.cli.session import open_project
    from lmc_repro.tracking.store import require_in_place, tracking_uri

    try:
        project, params = open_project(on_this_cpu=True)
    except LmcError as error:
        for line in error.lines:
            echo(f"error: {line}", err=True)
        raise Exit(2) from None
    require_in_place(project.home, tracking_uri(project.home))
    if remark := missing_git(project):
        echo(remark, err=True)
    print(f"{project.params.name}: valid, profile {params.profile}, studies: {', '.join(params.studies)}")
    if params.exhibits:
        print(f"exhibits: {', '.join(params.exhibits)}")
    if mark is not None:  # holds the data sets in use, and nothing that any other edit changes
        write_atomic(mark, f"valid, data sets: {', '.join(params.profiles[params.profile].datasets)}\n".encode())
    if plans is not None:
        from lmc_repro.cli.plans import require_listed, write_plans

        write_plans(params, plans)
        require_listed(plans, project.root / "dvc.yaml")


def prepare(
    dataset: Annotated[
        str | None,
        Argument(
            metavar="DATASET",
            help="digits, mnist, cifar10, cifar100, tinyimagenet, or FILE.py:NAME; default: all of the active profile.",
        ),
    ] = None,
    if_used: Annotated[
        bool,
        Option(
            "--if-used",
            help="Note `unused` where the active profile does not use it; go on where it cannot be had (for DVC).",
        ),
    ] = False,
) -> None:
    """Fetch a data set, check it, and write it for both loaders.

    Takes files from data/raw, then from the folder that LMC_DATA_MIRROR or data.mirror names (torchvision's layout, or
    the publishers' archives), then downloads them. Writes data/prepared/DATASET/{train,test}.{beton,safetensors} and
    status.json.
    """
    from lmc_repro.cli.session import open_project, prepare_dataset
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.data.status import note_unused

    project, params = open_project()
    used = params.profiles[params.profile].datasets
    names = [dataset_info(name).name for name in ((dataset,) if dataset else used)]
    if dataset and if_used and names[0] not in used:  # imports no torch: DVC asks for every data set
        reason = note_unused(names[0], project.prepared).get("reason")
        echo(f"data set {names[0]}: unused: {reason}", err=True)
        return
    for name in names:
        prepare_dataset(project, params, name, project.prepared, listener(), bool(dataset) and not if_used)


def train(study: opt.Study, jobs: opt.Jobs = None) -> None:
    """Train the runs of a study that are not finished yet.

    A stage of DVC, into runs/STUDY. Reuses finished runs, whichever study or command trained them, and resumes
    interrupted ones from their last checkpoint. `lmc run STUDY` does this and all that follows.
    """
    from lmc_repro.cli.session import dvc_stage

    with dvc_stage(study, jobs) as workspace:
        from lmc_repro.pipeline.train import train_study

        print(train_study(workspace))


def compare(
    study: Annotated[
        str, Argument(metavar="STUDY | RUN_A", autocompletion=opt.studies, help="A study of params.yaml, or a run id.")
    ],
    run_b: Annotated[str | None, Argument(metavar="RUN_B", help="A second run id.")] = None,
    points: Annotated[
        int | None, Option(metavar="N", min=3, max=bounds.POINTS, help="Two runs: alphas on the path, ends included.")
    ] = None,
    align: opt.Align = None,
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
    jobs: opt.Jobs = None,
) -> None:
    """Compare the runs of a study, or any two trainings.

    A study (a stage of DVC): pairs its runs found in MLflow, measures the error along the line between each two, and
    writes results/STUDY. Runs that runs/STUDY holds and MLflow does not are published first.

    Two runs, `lmc compare RUN_A RUN_B`: loads their last checkpoints from MLflow, checks that they fit together
    (same architecture and data, other noise or initialisation), measures the path on the prepared data and prints it;
    writes nothing. --points 101 shows what 11 points miss. `lmc list STUDY` and `lmc show CELL_ID` print the ids.
    """
    from lmc_repro.cli.session import begin, dvc_stage, open_project, path_config, ready_dataset, say

    if run_b is not None:
        path = path_config(align)
        project, params = open_project()
        profile, notify = params.profiles[params.profile], begin(params, params.profile)
        from lmc_repro.notebook.compare_runs import StoredTraining, compare_runs, comparison_lines
        from lmc_repro.tracking.find import Reader

        reader = Reader.open(project.home, tracking_uri)
        runs = StoredTraining.find(reader, study), StoredTraining.find(reader, run_b)
        prepared = ready_dataset(project, params, runs[0].end.config.data.dataset, notify)
        record = compare_runs(runs, prepared, points or profile.points, profile.judgement, path)
        say(record, comparison_lines(record), as_json)
        return
    if points is not None or align is not None or tracking_uri is not None or as_json:
        raise LmcError(
            "--points, --align, --tracking-uri, --json: these are for two runs, `lmc compare RUN_A RUN_B`; a study has "
            "`points` and `align` in params.yaml and MLFLOW_TRACKING_URI, and `lmc report --json` prints it"
        )
    if re.fullmatch("[0-9a-f]{32}", study):
        raise LmcError(f"{study}: a second run id is missing; `lmc compare RUN_A RUN_B`, ids from `lmc show`")
    with dvc_stage(study, jobs) as workspace:
        from lmc_repro.pipeline.compare import compare_study

        results = compare_study(workspace)
    pairs = sum(len(result.pairs) for result in results.values())
    print(f"compared {counted(pairs, 'pair')} in {counted(len(results), 'cell')}: {workspace.results}")


def link() -> None:
    """Link the run of `mlflow run . -e repro` to every study's cells, including those DVC did not rerun."""
    from lmc_repro.cli.session import dvc_workspace, open_project

    project, params = open_project()
    for study in params.studies:
        workspace = dvc_workspace(project, params, study)
        from lmc_repro.pipeline.compare import link_study
        from lmc_repro.results.read import has_results

        if has_results(workspace.results):
            link_study(workspace)
    from lmc_repro.tracking.project_run import keep_results

    if kept := keep_results(project, {"results": project.results, "report": project.report}):
        print(kept)


def run(
    study: opt.Study,
    profile: opt.Profile = None,
    row: opt.Row = None,
    column: opt.Column = None,
    pairs: opt.Pairs = None,
    trainer_seeds: opt.TrainerSeeds = None,
    replicas: opt.Replicas = None,
    dataset: Annotated[
        str | None,
        Option(metavar="NAME", help="Only the cells on this data set; a study that has none is moved to it."),
    ] = None,
    width: Annotated[
        int | None, Option(metavar="N", min=1, max=bounds.SIZE, help="Units of every hidden layer.")
    ] = None,
    epochs: opt.Epochs = None,
    set_: opt.Set = None,
    jobs: opt.Jobs = None,
    device: Annotated[str | None, Option(metavar="DEVICE", help="auto, cpu or cuda in place of the profile's.")] = None,
    engine: Annotated[
        str | None, Option(metavar="ENGINE", help="local, or ray: a cluster's machines train (LMC_ENGINE).")
    ] = None,
    address: Annotated[
        str | None, Option(metavar="HOST:PORT", help="The Ray cluster's address (LMC_RAY_ADDRESS).")
    ] = None,
    insecure: Annotated[
        bool, Option("--insecure", help="Use a Ray cluster that asks for no token (LMC_RAY_INSECURE=1).")
    ] = False,
    wait: Annotated[
        int | None,
        Option(
            metavar="N",
            min=0,
            max=bounds.MINUTES,
            help="Minutes to wait for machines when none is left (LMC_RAY_WAIT; 30).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print runs, pairs, FLOPs, time, memory, disk; do nothing.")
    ] = False,
    out: Annotated[Path | None, Option(metavar="DIR", help="Folder in place of out/PROFILE/STUDY.")] = None,
    no_tracking: Annotated[bool, Option("--no-tracking", help="Use neither MLflow nor the report.")] = False,
    keep: Annotated[
        str,
        Option(metavar="KEEP", help="Checkpoints that stay in the run folders and go to MLflow: all, last or none."),
    ] = "all",
) -> None:
    """Prepare, train, compare and report one study, without DVC.

    Writes out/PROFILE/STUDY and leaves DVC's outputs alone; cells that earlier calls left there stay, if params.yaml
    and the options give them the same settings. Reuses finished runs, whoever trained them, and resumes interrupted
    ones from their last checkpoint. --set takes what a study's base, rows and columns may hold, written as
    in params.yaml: --set optimizer.lr=0.1 --set 'data.augment={flip: true}'.

    With --engine ray the machines of a cluster train and measure; results are the same.

    With --no-tracking on a machine without MLflow: carry the folder here, and `lmc publish FOLDER` fills the store.
    """
    from lmc_repro.cli import session
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.engine.cluster import chosen_cluster
    from lmc_repro.pipeline.workspace import prepared_dir, study_lock, with_earlier
    from lmc_repro.training.run_folder import Keep

    if keep not in get_args(Keep):
        raise LmcError(f"--keep: {choices(keep, get_args(Keep))}")
    cluster = chosen_cluster(engine, address, insecure, wait)
    given, narrowed = session.parse_settings(set_ or (), trainer_seeds), (tuple(row or ()), tuple(column or ()))
    choice = Choice(profile, *narrowed, pairs, replicas, epochs, dataset, width, device, given)
    project, params = session.open_project()
    plan = plan_study(params, study, choice)
    notify = session.begin(params, plan.profile)
    # Names the cells that could have been chosen but were not, with their cost.
    whole, chosen = dataclasses.replace(choice, rows=(), columns=()), {cell.key for cell in plan.cells}
    if dry_run:
        from lmc_repro.pipeline.costs import cost_lines

        print("\n".join(cost_lines(plan, jobs, device)))
        return
    begun, folder = time.monotonic(), out or project.out / plan.profile / study
    results = folder / "results" / study
    size = f"{counted(len(chosen), 'cell')}, {counted(len(plan.runs), 'run')}"
    line = f"{study}, profile {plan.profile}: {size}; importing torch ..."

    with suppress(LmcError):  # a cell that was not chosen may not go together with the options
        plan = with_earlier(plan, plan_study(params, study, whole), results)
    names = sorted({cell.config["data"]["dataset"] for cell in plan.cells})
    prepared = prepared_dir(project, names)
    places, kept_as = (folder / "runs", results, prepared), cast("Keep", keep)
    workspace = session.make_workspace(project, plan, places, jobs, device, notify, line, not no_tracking, kept_as)
    workspace = session.on_cluster(workspace, cluster, jobs)
    for name in names:
        if not no_tracking or prepared != project.prepared:  # all are ready there; a bare machine reads no images
            session.prepare_dataset(project, params, name, prepared, notify)
    from lmc_repro.pipeline.compare import compare_study
    from lmc_repro.pipeline.train import train_study

    with study_lock(project, folder, notify):
        workspace = workspace.without_unfinished(chosen)
        counts = train_study(workspace)
        compare_study(workspace)
        if no_tracking:
            print(f"{counts} in {time.monotonic() - begun:.0f} s, checkpoints kept: {keep}; results in {folder}")
            return
        if earlier := len(workspace.plan.cells) - len(chosen):
            notify.line(f"{results} keeps {counted(earlier, 'cell')} of earlier calls")
        session.show_report(params, folder / "results", folder / "report", {study: whole}, (study,), only=chosen)
    print(f"{counts} in {time.monotonic() - begun:.0f} s; results in {folder}")
    from lmc_repro.tracking.project_run import keep_results

    if kept := keep_results(project, {name: folder / name for name in ("results", "report")}):
        print(kept)


def reproduce(
    run_id: Annotated[str, Argument(metavar="RUN_ID", help="The id of a training's or a pair's run in MLflow.")],
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
    out: Annotated[Path | None, Option(metavar="DIR", help="Keep the recomputed files in this new folder.")] = None,
) -> None:
    """Train a run again and say whether its bits are the same.

    Trains in a fresh folder from the config and seeds that MLflow holds, and compares sha256 of initial weights, order,
    augmentation and every file; of a pair both trainings, then the path count by count. Ids: `lmc list STUDY`, `lmc
    show CELL_ID`. Exit code 0: identical. 1: something differs (prints the first difference and its likely reasons).
    2: cannot be tried.
    """
    from lmc_repro.cli.session import open_store, say
    from lmc_repro.common.numerics import choose_mode

    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LmcError(f"--out {out}: exists already; name a new folder, so that nothing old counts as recomputed")
    project, reader = open_store(tracking_uri)
    notify, stored = listener(), reader.run(run_id)
    if stored.kind not in ("train", "pair"):
        found = "not of this project" if stored.kind == "other" else f"of kind {stored.kind}"
        raise LmcError(f"run {run_id} is {found}: give a training or a pair; `lmc show {run_id}` lists those of a cell")
    # The run's own mode, before anything imports torch.
    _, remark = choose_mode("portable" if stored.tags.get("lmc.numerics", "").startswith("portable") else "native")
    if remark:
        notify.line(remark)
    from lmc_repro.verification.reproduce import reproduce as reproduce_run

    with tempfile.TemporaryDirectory(prefix="lmc-reproduce-") as scratch:
        certificate = reproduce_run(reader, stored, project, out or Path(scratch), notify)
    record = dataclasses.asdict(certificate)
    if out is not None:
        write_json(out / "certificate.json", record)
    say(record, certificate.lines(), as_json)
    raise Exit(0 if certificate.identical else 1)


def verify(
    study: opt.Study,
    profile: opt.Profile = None,
    quick: Annotated[bool, Option("--quick", help="Do not measure the paths again.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Check a study's results against their checksums.

    Trains and writes nothing. Checks run folders and MLflow's checkpoints by sha256, recomputes runs.json and
    cells.json from run folders and curves.csv, measures the paths between MLflow's weights again, and compares the
    three files byte for byte. Exit code 0, or 1 with one line per problem that names the file, the first key that
    differs and the fix.
    """
    from lmc_repro.cli.session import begin, open_study, say

    project, params, plan = open_study(study, profile)
    notify = begin(params, plan.profile)
    from lmc_repro.verification.verify import verify_study

    found = verify_study(project, study, plan.profile, plan.profile_config.judgement, quick, notify)
    say({"ok": not found.problems, **dataclasses.asdict(found)}, found.lines(), as_json)
    raise Exit(1 if found.problems else 0)
