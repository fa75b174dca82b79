"""Commands that recompute and compare: verify a study's results, reproduce one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc_repro.cli import options as opt


def reproduce(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The id of a training's or a pair's run in MLflow.")],
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the recomputed files in this new folder.")
    ] = None,
) -> None:
    """Train a run again and say whether its bits are the same.

    Trains in a fresh folder from the config and seeds that MLflow holds, and compares sha256 of initial weights, order,
    augmentation and every file; of a pair both trainings, then the path count by count. Ids: `lmc list STUDY`, `lmc
    show CELL_ID`. Exit code 0: identical. 1: something differs (prints the first difference and its likely reasons).
    2: cannot be tried.
    """
    import tempfile
    from dataclasses import asdict

    from lmc_repro.cli.progress import listener
    from lmc_repro.cli.session import open_store, say
    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.files import write_json
    from lmc_repro.common.numerics import choose_mode

    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LmcError(f"--out {out}: exists already; name a new folder, so that nothing old counts as recomputed")
    project, reader = open_store(tracking_uri)
    notify, run = listener(), reader.run(run_id)
    if run.kind not in ("train", "pair"):
        found = "not of this project" if run.kind == "other" else f"of kind {run.kind}"
        raise LmcError(f"run {run_id} is {found}: give a training or a pair; `lmc show {run_id}` lists those of a cell")
    # The run's own mode, before anything imports torch.
    _, remark = choose_mode("portable" if run.tags.get("lmc.numerics", "").startswith("portable") else "native")
    if remark:
        notify.line(remark)
    from lmc_repro.verification.reproduce import reproduce as reproduce_run

    with tempfile.TemporaryDirectory(prefix="lmc-reproduce-") as scratch:
        certificate = reproduce_run(reader, run, project, out or Path(scratch), notify)
    record = asdict(certificate)
    if out is not None:
        write_json(out / "certificate.json", record)
    say(record, certificate.lines(), as_json)
    raise typer.Exit(0 if certificate.identical else 1)


def verify(
    study: opt.Study,
    profile: opt.Profile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure the paths again.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Check a study's results against their checksums.

    Trains and writes nothing. Checks run folders and MLflow's checkpoints by sha256, recomputes runs.json and
    cells.json from run folders and curves.csv, measures the paths between MLflow's weights again, and compares the
    three files byte for byte. Exit code 0, or 1 with one line per problem that names the file, the first key that
    differs and the fix.
    """
    from dataclasses import asdict

    from lmc_repro.cli.session import begin, open_study, say

    project, params, plan = open_study(study, profile)
    notify = begin(params, plan.profile)
    from lmc_repro.verification.verify import verify_study

    found = verify_study(project, study, plan.profile, plan.profile_config.judgement, quick, notify)
    say({"ok": not found.problems, **asdict(found)}, found.lines(), as_json)
    raise typer.Exit(1 if found.problems else 0)
