"""The commands of `lmc`. Heavy imports stay inside them, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="lmc",
    help="Are two trained networks linearly connected? Reproduces arXiv 2312.09832, with MLflow and DVC.",
    epilog="A first look: `lmc run table1` trains and compares Table 1 on the embedded digits in minutes, `lmc ui "
    "table1` shows it in MLflow. `lmc COMMAND --help` says what a command reads and writes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Study = Annotated[str, typer.Argument(help="A study of params.yaml, e.g. table1.")]
Profile = Annotated[str | None, typer.Option(help="A profile of params.yaml instead of its active one, e.g. paper.")]
Row = Annotated[list[str] | None, typer.Option(help="Only this row, e.g. 2-layer-bs1024; can be repeated.")]
Column = Annotated[list[str] | None, typer.Option(help="Only this column, e.g. adam-high; can be repeated.")]
Pairs = Annotated[int | None, typer.Option(min=1, help="Trainer seeds a cell, each with one pair of runs.")]
Replicas = Annotated[int | None, typer.Option(min=2, help="Runs a trainer seed; r gives r(r-1)/2 dependent pairs.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Train so many epochs only.")]
Dataset = Annotated[
    str | None, typer.Option(help="Only the cells on this data set; a study that has none is moved to it.")
]
Width = Annotated[int | None, typer.Option(min=1, help="Units of every hidden layer.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes of one thread each; default: one a core.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda instead of the profile's.")]
TrackingUri = Annotated[str | None, typer.Option(help="An MLflow store instead of MLFLOW_TRACKING_URI's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting for every cell, e.g. filters=16; can be repeated."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print runs, FLOPs, time and disk, and do nothing.")]


@app.command()
def check(
    mark: Annotated[Path | None, typer.Option(help="Write this file if all is well (for DVC).")] = None,
) -> None:
    """Check params.yaml and every study in it; do nothing else.

    Says which key is wrong, what was found there and what is allowed. The first stage of DVC: DVC removes a stage's
    outputs before it runs it, so mistakes must show before.
    """
    from lmc_repro.cli.commands import check_command

    check_command(mark)


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="A data set: digits, mnist, cifar10, cifar100, tinyimagenet.")],
    if_used: Annotated[
        bool, typer.Option("--if-used", help="Only note `unused` where the active profile has no use for it (for DVC).")
    ] = False,
) -> None:
    """Fetch a data set, check it, and write it for both loaders.

    Files are taken from data/raw, then from the folder that LMC_DATA_MIRROR or data.mirror names (torchvision's
    layout, or the publishers' archives), then downloaded. Writes data/prepared/DATASET/{train,test}.{beton,safetensors}
    and status.json.
    """
    from lmc_repro.cli.commands import prepare_command

    prepare_command(dataset, if_used)


@app.command()
def train(study: Study, jobs: Jobs = None) -> None:
    """Train the runs of a study that are not finished yet.

    A stage of DVC, into runs/STUDY. Finished runs are reused, whichever study or command trained them; interrupted ones
    go on from their last checkpoint. `lmc run STUDY` does this and all that follows.
    """
    from lmc_repro.cli.commands import train_command

    train_command(study, jobs)


@app.command()
def compare(
    study: Annotated[str, typer.Argument(metavar="STUDY | RUN_A", help="A study of params.yaml, or a run id.")],
    run_b: Annotated[str | None, typer.Argument(metavar="[RUN_B]", help="A second run id.")] = None,
    points: Annotated[int | None, typer.Option(min=3, help="Two runs: alphas on the path, ends included.")] = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
    jobs: Jobs = None,
) -> None:
    """Compare the runs of a study, or any two trainings.

    A study (a stage of DVC): pair its runs found in MLflow, measure the error along the line between each two, write
    results/STUDY. Runs that runs/STUDY holds and MLflow does not are published first.

    Two runs, `lmc compare RUN_A RUN_B`: load their last checkpoints from MLflow, check that they fit together
    (architecture, data, noise or initialisation that differs), measure the path on the prepared data and print it;
    nothing is written. --points 101 shows what 11 points miss. `lmc list STUDY` and `lmc show CELL_ID` print the ids.
    """
    if run_b is not None:
        from lmc_repro.cli.runs import compare_runs_command

        compare_runs_command(study, run_b, points, tracking_uri, as_json)
        return
    from lmc_repro.cli.commands import compare_command

    compare_command(study, jobs, points is not None or tracking_uri is not None or as_json)


@app.command()
def barrier(
    first: Annotated[Path, typer.Argument(metavar="A", help="A safetensors file: the weights at alpha 0.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another: those at alpha 1.")],
    model: Annotated[
        str,
        typer.Option(
            help="mlp:depth=2,width=128 (a kind and its settings), '{kind: mlp, ...}', a run's config.json, or "
            "FILE.py:FUNCTION or module:FUNCTION, whose code is run and returns an nn.Module."
        ),
    ],
    data: Annotated[
        str, typer.Option(help="digits, mnist, ...; an .npz; or a folder of train/CLASS/ and test/CLASS/ images.")
    ],
    points: Annotated[int, typer.Option(min=3, help="Alphas on the path, ends included.")] = 11,
    split: Annotated[str, typer.Option(help="train, test or both.")] = "both",
    batch_size: Annotated[int | None, typer.Option(min=1, help="For a module of your own; default 1000.")] = None,
    min_train_accuracy: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of a trained end; default: halfway from chance to 1.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "cpu",
    plot: Annotated[Path | None, typer.Option(help="Draw the path into this file, .png or .svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the barrier between two weight files.

    For weights from anywhere. Prints error and loss at every alpha of (1 - alpha) A + alpha B, barriers, and a small
    curve; writes nothing but --plot, and needs no project but for a data set that has to be prepared. Statuses are
    judged by the train error: an end that diverged or did not train has no barrier, and is never called connected.

    --model FILE.py:FUNCTION and module:FUNCTION (the working folder is on Python's path) RUN THAT CODE: name none that
    you do not trust. Weight files run none: pickled ones are refused. An .npz holds x_train, y_train, x_test, y_test:
    images uint8, normalised by the training images' mean and deviation, or floats, which the module sees as they are.

    BatchNorm's running statistics are never averaged: at every alpha, ends included, they are reset and estimated
    anew from the training images, batch by batch (arXiv 2211.08403). Other buffers must be equal in A and B.
    """
    from lmc_repro.cli.barrier import Asked, barrier_command

    asked = Asked(model, data, points, split, batch_size, min_train_accuracy, device, as_json, plot)
    barrier_command(first, second, asked)


@app.command()
def exhibit(
    key: Annotated[str, typer.Argument(help="An exhibit of params.yaml: table3, figure4 or table4.")],
) -> None:
    """Make a table or figure that needs no training of its own.

    A stage of DVC: writes results/KEY and prints what it shows. Parameter counts from the models, first batches from
    the loaders, test accuracies from a study's results.
    """
    from lmc_repro.cli.exhibits import exhibit_command

    exhibit_command(key)


@app.command(hidden=True)
def link() -> None:
    """Lead from the run of `mlflow run . -e repro` to the cells of every study, those that DVC left alone too."""
    from lmc_repro.cli.commands import link_command

    link_command()


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="The id of a run in MLflow: a cell's, a training's or a pair's.")],
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: a cell, a training or a pair.

    Config, seeds, status, errors at the marks, barriers, a small curve, and the ids of the runs around it. `lmc list
    STUDY` prints ids to begin with.
    """
    from lmc_repro.cli.runs import show_command

    show_command(run_id, tracking_uri, as_json)


@app.command("list")
def list_(study: Study, profile: Profile = None, tracking_uri: TrackingUri = None, as_json: AsJson = False) -> None:
    """List the cells of a study: barriers, verdicts, run ids.

    Mean barriers in percentage points, test / train, and a small curve each. Read from MLflow; from the results folder
    where MLflow has none of them.
    """
    from lmc_repro.cli.runs import list_command

    list_command(study, profile, tracking_uri, as_json)


@app.command()
def reproduce(
    run_id: Annotated[str, typer.Argument(help="The id of a training's or a pair's run in MLflow.")],
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Keep what is made again in this new folder.")] = None,
) -> None:
    """Make a run again and say whether its bits are the same.

    From what MLflow holds alone, in a fresh folder: trains it from the recorded config and seeds, and compares
    sha256 of initial weights, order, augmentation, every checkpoint and every metric; of a pair both trainings,
    then the path count by count. Ids: `lmc list STUDY`, `lmc show CELL_ID`. Exit code 0 identical, 1 something
    differs (the first thing, and what is likely behind it), 2 cannot be tried.
    """
    from lmc_repro.cli.proof import reproduce_command

    raise typer.Exit(reproduce_command(run_id, tracking_uri, as_json, out))


@app.command()
def verify(
    study: Study,
    profile: Profile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure the paths again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a study's results against their checksums.

    Without training, and nothing is written. Run folders and MLflow's checkpoints by sha256, paths between those
    weights measured again (counts and losses equal to curves.csv), barriers worked out again from curves.csv (equal
    to cells.json and to MLflow). Exit code 0, or 1 with a line a problem that names the file and what to do.
    """
    from lmc_repro.cli.proof import verify_command

    raise typer.Exit(verify_command(study, profile, quick, as_json))


@app.command()
def report(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="Print the tables of these too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write report/ for all studies and print an overview.

    A stage of DVC. The overview names every table, figure and appendix of the paper; the tables of the studies that are
    named follow it. --json prints all studies, statements and cells that were not run.
    """
    from lmc_repro.cli.commands import report_command

    report_command(tuple(studies or ()), as_json)


@app.command()
def run(
    study: Study,
    profile: Profile = None,
    row: Row = None,
    column: Column = None,
    pairs: Pairs = None,
    replicas: Replicas = None,
    dataset: Dataset = None,
    width: Width = None,
    epochs: Epochs = None,
    set_: Set = None,
    jobs: Jobs = None,
    device: Device = None,
    dry_run: DryRun = False,
    out: Annotated[Path | None, typer.Option(help="Folder instead of out/PROFILE/STUDY.")] = None,
) -> None:
    """Prepare, train, compare and report one study, without DVC.

    Writes out/PROFILE/STUDY and leaves DVC's outputs alone. Finished runs are reused, whoever trained them; interrupted
    ones go on from their last checkpoint. --set takes what a study's base, rows and columns may hold, written as in
    params.yaml: --set init=kaiming-normal --set 'augment={flip: true}'.
    """
    from lmc_repro.cli.commands import run_command
    from lmc_repro.cli.settings import parse_settings
    from lmc_repro.studies.expand import Choice

    given, narrowed = parse_settings(tuple(set_ or ())), (tuple(row or ()), tuple(column or ()))
    choice = Choice(profile, *narrowed, pairs, replicas, epochs, dataset, width, device, given)
    run_command(study, choice, jobs, dry_run, out)


@app.command()
def plan(
    study: Study,
    out: Annotated[Path, typer.Option(help="The file to write, e.g. plan.json.")],
    profile: Profile = None,
    row: Row = None,
    column: Column = None,
    pairs: Pairs = None,
    replicas: Replicas = None,
    dataset: Dataset = None,
    width: Width = None,
    epochs: Epochs = None,
    set_: Set = None,
) -> None:
    """Write a study as JSON, to be trained on a GPU machine.

    The machine needs little else. There: python -m lmc_repro.execution.bundle plan.json --device cuda --out
    table1.lmc, with this package, torch, numpy, pydantic, safetensors and a copy of data/prepared. Back here: lmc
    import table1.lmc
    """
    from lmc_repro.cli.bundles import plan_command
    from lmc_repro.cli.settings import parse_settings
    from lmc_repro.studies.expand import Choice

    given, narrowed = parse_settings(tuple(set_ or ())), (tuple(row or ()), tuple(column or ()))
    plan_command(study, Choice(profile, *narrowed, pairs, replicas, epochs, dataset, width, None, given), out)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `python -m lmc_repro.execution.bundle` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder instead of out/PROFILE/STUDY.")] = None,
) -> None:
    """Bring in a study that was computed on another machine.

    Into MLflow and out/PROFILE/STUDY. The file is checked first: names, checksums, versions, that its runs and
    pairs are those of its plan. Importing it again changes nothing. Runs and pairs without weights carry the tag
    lmc.weights: they can be looked at, not compared with others.
    """
    from lmc_repro.cli.bundles import import_command

    import_command(file, out)


@app.command()
def doctor(
    fix_runs: Annotated[
        bool, typer.Option("--fix-runs", help="End the runs that count as RUNNING though their process is gone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is missing, how to get it, and what crashes left.

    Also what is installed, and where data and runs are. Exit code 1 if something is missing that the project needs.
    Changes nothing but with --fix-runs.
    """
    from lmc_repro.cli.doctor import doctor_command

    raise typer.Exit(doctor_command(fix_runs, as_json))


@app.command("check-lock")
def check_lock(
    against: Annotated[str, typer.Option(help="The commit whose dvc.lock is compared with.")] = "HEAD",
    keep: Annotated[
        bool, typer.Option("--keep", help="Write dvc.counts.json of the results here instead, to commit with dvc.lock.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what differs here from the committed dvc.lock.

    What `dvc repro` made here otherwise than the lock has it; `make check-lock` does both. Stage by stage from
    hashes. Cell by cell, how many error counts differ and by how many images, where the locked counts can be had:
    from DVC's cache, or from dvc.counts.json, which is committed with dvc.lock. On another kind of CPU other bits
    are to be expected. Exit code 0 if every output has the locked hash, 1 if not.
    """
    from lmc_repro.cli.lock import check_lock_command

    raise typer.Exit(check_lock_command(against, keep, as_json))


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """List and remove working files that nothing names any more.

    With sizes, and removed only if you say so. Left over are runs and measured pairs in .lmc that no study of
    params.yaml has under any profile, and neither runs/ nor out/ names; their locks; files that a killed process
    was writing. Runs under way, results, out/ and MLflow's store are never touched. On a terminal it asks;
    elsewhere --yes is needed.
    """
    from lmc_repro.cli.leftovers import gc_command

    raise typer.Exit(gc_command(yes, as_json))


@app.command()
def publish(study: Study, profile: Profile = None, tracking_uri: TrackingUri = None) -> None:
    """Fill an MLflow store from runs/STUDY and results/STUDY.

    Also an empty or a remote one. After `git clone` and `dvc pull`: trainings with their checkpoints, pairs, cells
    and the view. Nothing is trained or measured, and no data set is needed. What is there already is left alone;
    after an interruption, call it again. Another --profile than the active one is looked for below out/, where `lmc
    run` writes.
    """
    from lmc_repro.cli.publish import publish_command

    publish_command(study, profile, tracking_uri)


@app.command()
def ui(
    study: Annotated[str | None, typer.Argument(help="A study that the store holds; default: all of them.")] = None,
    row: Annotated[str | None, typer.Option(help="Only the pairs of this row, e.g. 8-layer-bs1024.")] = None,
    column: Annotated[str | None, typer.Option(help="Only the pairs of this column, e.g. adam-high.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of 127.0.0.1; another one if it is taken.")] = 5000,
) -> None:
    """Open MLflow's user interface here and print where to look.

    Links for each experiment: the published view (all paths over one another from alpha 0 to 1, their barriers below),
    the table with trainings and pairs below their cells, and the pairs with the largest barriers side by side; --row
    and --column choose others for these. Ctrl-C ends the server. Where MLFLOW_TRACKING_URI names a server, the links
    lead there.
    """
    from lmc_repro.cli.ui import ui_command

    ui_command(study, row, column, port)


@app.command()
def reproduction(
    folder: Annotated[
        Path | None, typer.Argument(help="STUDY/PART/ below it hold kept results. Default: docs/reproduction.")
    ] = None,
    profile: Annotated[str, typer.Option(help="The profile whose cells are listed.")] = "paper",
) -> None:
    """Print ours against the paper's numbers, from kept results.

    It is the page docs/reproduction.md. To keep results: copy cells.json, curves.csv and runs.json of a results folder
    to docs/reproduction/STUDY/PART and write the machine in words to machine.txt beside them. notes.md beside them, or
    one folder up, is shown too.
    """
    from lmc_repro.cli.commands import reproduction_command

    reproduction_command(folder, profile)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
