"""What is typed for the stages of DVC. Heavy imports stay inside the functions, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc_repro.cli.typed.options import AsJson, Jobs, Study, TrackingUri


def check(
    mark: Annotated[Path | None, typer.Option(help="Write this file if all is well (for DVC).")] = None,
    plans: Annotated[
        Path | None, typer.Option(help="Write what each study and exhibit comes to into this folder (for DVC).")
    ] = None,
) -> None:
    """Check params.yaml and every study in it; do nothing else.

    Says which key is wrong, what was found there and what is allowed. The first stage of DVC: DVC removes a stage's
    outputs before it runs it, so mistakes must show before.
    """
    from lmc_repro.cli.commands import check_command

    check_command(mark, plans)


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


def train(study: Study, jobs: Jobs = None) -> None:
    """Train the runs of a study that are not finished yet.

    A stage of DVC, into runs/STUDY. Finished runs are reused, whichever study or command trained them; interrupted ones
    go on from their last checkpoint. `lmc run STUDY` does this and all that follows.
    """
    from lmc_repro.cli.commands import train_command

    train_command(study, jobs)


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


def exhibit(
    key: Annotated[str, typer.Argument(help="An exhibit of params.yaml: table3, figure4 or table4.")],
    as_json: AsJson = False,
) -> None:
    """Make a table or figure that needs no training of its own.

    A stage of DVC: writes results/KEY and prints what it shows. Parameter counts from the models, first batches from
    the loaders, test accuracies from a study's results.
    """
    from lmc_repro.cli.reports import exhibit_command

    exhibit_command(key, as_json)


def link() -> None:
    """Lead from the run of `mlflow run . -e repro` to the cells of every study, those that DVC left alone too."""
    from lmc_repro.cli.commands import link_command

    link_command()


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
    from lmc_repro.cli.reports import report_command

    report_command(tuple(studies or ()), as_json)
