"""The commands of `lmc`. Heavy imports stay inside them, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="lmc",
    help="Are two trained networks linearly connected? Reproduces arXiv 2312.09832, with MLflow and DVC.",
    epilog="A first look: `lmc run table1` trains and compares all of Table 1 on the embedded digits in minutes.",
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
    """Check all of params.yaml and resolve every study, without doing anything.

    The first stage of DVC: DVC removes a stage's outputs before it runs it, so mistakes must show before.
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
    """Train the runs of a study that are not finished yet, into runs/STUDY (a stage of DVC)."""
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
    """Compare a study (a stage of DVC), or any two trainings: `lmc compare RUN_A RUN_B`.

    A study: pair its runs found in MLflow, measure the paths, write results/STUDY. Runs that runs/STUDY holds and
    MLflow does not are published first.

    Two runs: load their last checkpoints from MLflow, check that they fit together (architecture, data, noise or
    initialisation that differs), measure the path on the prepared data and print it; nothing is written. --points 101
    shows what 11 points miss. `lmc list STUDY` and `lmc show CELL_ID` print the ids.
    """
    if run_b is not None:
        from lmc_repro.cli.runs import compare_runs_command

        compare_runs_command(study, run_b, points, tracking_uri, as_json)
        return
    from lmc_repro.cli.commands import compare_command

    compare_command(study, jobs, points is not None or tracking_uri is not None or as_json)


@app.command()
def exhibit(
    key: Annotated[str, typer.Argument(help="An exhibit of params.yaml: table3, figure4 or table4.")],
) -> None:
    """Make a table or figure that needs no training of its own, into results/KEY, and print it (a stage of DVC).

    Parameter counts from the models, first batches from the loaders, test accuracies from a study's results.
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
    """Show one run: config, seeds, status, errors at the marks, barriers, a small curve, and the runs around it."""
    from lmc_repro.cli.runs import show_command

    show_command(run_id, tracking_uri, as_json)


@app.command("list")
def list_(study: Study, profile: Profile = None, tracking_uri: TrackingUri = None, as_json: AsJson = False) -> None:
    """List the cells of a study: mean barriers, verdicts, a small curve each, and the ids of their runs.

    Read from MLflow; from the results folder where MLflow has none of them.
    """
    from lmc_repro.cli.runs import list_command

    list_command(study, profile, tracking_uri, as_json)


@app.command()
def report(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="Print the tables of these too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write report/ for all studies (a stage of DVC) and print an overview, then the tables that are asked for.

    The overview names every table, figure and appendix of the paper. --json prints all studies, statements and cells
    that were not run.
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
    dataset: Annotated[
        str | None, typer.Option(help="Only the cells on this data set; a study that has none is moved to it.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Units of every hidden layer.")] = None,
    epochs: Epochs = None,
    set_: Set = None,
    jobs: Jobs = None,
    device: Device = None,
    dry_run: DryRun = False,
    out: Annotated[Path | None, typer.Option(help="Folder instead of out/PROFILE/STUDY.")] = None,
) -> None:
    """Prepare, train, compare and report one study without DVC, into out/PROFILE/STUDY.

    Finished runs are reused, whoever trained them; interrupted ones go on from their last checkpoint. --set takes what
    a study's base, rows and columns may hold, written as in params.yaml: --set init=kaiming-normal --set
    'augment={flip: true}'.
    """
    from lmc_repro.cli.commands import run_command
    from lmc_repro.cli.settings import parse_settings
    from lmc_repro.studies.expand import Choice

    given, narrowed = parse_settings(tuple(set_ or ())), (tuple(row or ()), tuple(column or ()))
    choice = Choice(profile, *narrowed, pairs, replicas, epochs, dataset, width, device, given)
    run_command(study, choice, jobs, dry_run, out)


@app.command()
def doctor(
    fix_runs: Annotated[
        bool, typer.Option("--fix-runs", help="End the runs that count as RUNNING though their process is gone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what is missing and how to get it, where data and runs are, and what was left behind.

    Exit code 1 if something is missing that the project needs. Changes nothing but with --fix-runs.
    """
    from lmc_repro.cli.doctor import doctor_command

    raise typer.Exit(doctor_command(fix_runs, as_json))


@app.command()
def publish(study: Study, profile: Profile = None, tracking_uri: TrackingUri = None) -> None:
    """Fill a tracking store, also an empty or a remote one, with what runs/STUDY and results/STUDY hold.

    After `git clone` and `dvc pull`: trainings with their checkpoints, pairs, cells and the view. Nothing is trained or
    measured, and no data set is needed. What is there already is left alone; after an interruption, call it again.
    Another --profile than the active one is looked for below out/, where `lmc run` writes.
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
    """Open MLflow's user interface on this machine and print where to look.

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
    """Print the page that holds ours against the paper's (docs/reproduction.md), from kept results alone.

    To keep results: copy cells.json, curves.csv and runs.json of a results folder to docs/reproduction/STUDY/PART and
    write the machine in words to machine.txt beside them. notes.md beside them, or one folder up, is shown too.
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
