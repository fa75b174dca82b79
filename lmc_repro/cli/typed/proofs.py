"""What is typed to hold runs and results to what was stored, and to clear up."""

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

    From what MLflow holds alone, in a fresh folder: trains it from the recorded config and seeds, and compares
    sha256 of initial weights, order, augmentation, every checkpoint and every metric; of a pair both trainings,
    then the path count by count. Ids: `lmc list STUDY`, `lmc show CELL_ID`. Exit code 0 identical, 1 something
    differs (the first thing, and what is likely behind it), 2 cannot be tried.
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

    Without training, and nothing is written. Run folders and MLflow's checkpoints by sha256, paths between those
    weights measured again (counts and losses equal to curves.csv), barriers worked out again from curves.csv (equal
    to cells.json and to MLflow). Exit code 0, or 1 with a line a problem that names the file and what to do.
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
    from lmc_repro.cli.leftovers import gc_command

    raise typer.Exit(gc_command(yes, as_json))
