"""What is typed to look at runs, at the store and at this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc_repro.cli.typed.options import AsJson, Profile, Study, TrackingUri


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


def list_(study: Study, profile: Profile = None, tracking_uri: TrackingUri = None, as_json: AsJson = False) -> None:
    """List the cells of a study: barriers, verdicts, run ids.

    Mean barriers in percentage points, test / train, and a small curve each. Read from MLflow; from the results folder
    where MLflow has none of them.
    """
    from lmc_repro.cli.runs import list_command

    list_command(study, profile, tracking_uri, as_json)


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
    from lmc_repro.cli.maintenance import doctor_command

    raise typer.Exit(doctor_command(fix_runs, as_json))


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
    from lmc_repro.cli.reports import reproduction_command

    reproduction_command(folder, profile)
