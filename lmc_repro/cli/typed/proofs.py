"""Arguments of the commands that verify runs and results, and of the one that removes leftovers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc_repro.cli.typed.options import AsJson, Profile, Study, TrackingUri


def reproduce(
    run_id: Annotated[str, typer.Argument(help="The id of a training's or a pair's run in MLflow.")],
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Keep what is made again in this new folder.")] = None,
) -> None:
    """Make a run again and say whether its bits are the same.

    Trains it in a fresh folder from the config and seeds that MLflow holds, and compares sha256 of initial weights,
    order, augmentation and every file; of a pair both trainings, then the path count by count. Ids:
    `lmc list STUDY`, `lmc show CELL_ID`. Exit code 0: identical. 1: something differs (the first difference and
    its likely reasons). 2: cannot be tried.
    """
    from lmc_repro.cli.verification import reproduce_command

    raise typer.Exit(reproduce_command(run_id, tracking_uri, as_json, out))


def verify(
    study: Study,
    profile: Profile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure the paths again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a study's results against their checksums.

    Trains and writes nothing. Checks run folders and MLflow's checkpoints by sha256, recomputes runs.json and
    cells.json from run folders and curves.csv, measures the paths between MLflow's weights again, and compares the
    three files byte for byte. Exit code 0, or 1 with one line per problem that names the file, the first key that
    differs and the fix.
    """
    from lmc_repro.cli.verification import verify_command

    raise typer.Exit(verify_command(study, profile, quick, as_json))


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
    from lmc_repro.cli.maintenance import gc_command

    raise typer.Exit(gc_command(yes, as_json))
