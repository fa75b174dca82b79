"""What is typed to make a study, to publish one, or to measure a path of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc_repro.cli.typed.options import (
    AsJson,
    Column,
    Dataset,
    Device,
    DryRun,
    Epochs,
    Jobs,
    Pairs,
    Profile,
    Replicas,
    Row,
    Set,
    Study,
    TrackingUri,
    Width,
)


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
    no_tracking: Annotated[bool, typer.Option("--no-tracking", help="Use neither MLflow nor the report.")] = False,
    keep: Annotated[
        str, typer.Option(help="Checkpoints that stay in the run folders: all, last or none; needs --no-tracking.")
    ] = "all",
) -> None:
    """Prepare, train, compare and report one study, without DVC.

    Writes out/PROFILE/STUDY and leaves DVC's outputs alone. Finished runs are reused, whoever trained them; interrupted
    ones go on from their last checkpoint. --set takes what a study's base, rows and columns may hold, written as in
    params.yaml: --set init=kaiming-normal --set 'augment={flip: true}'.

    With --no-tracking on a machine without MLflow: carry the folder here, and `lmc publish FOLDER` fills the store.
    """
    from lmc_repro.cli.commands import run_command
    from lmc_repro.cli.settings import parse_settings
    from lmc_repro.studies.expand import Choice

    given, narrowed = parse_settings(tuple(set_ or ())), (tuple(row or ()), tuple(column or ()))
    choice = Choice(profile, *narrowed, pairs, replicas, epochs, dataset, width, device, given)
    run_command(study, choice, jobs, dry_run, out, not no_tracking, keep)


def publish(
    study: Annotated[str, typer.Argument(metavar="STUDY_OR_DIR", help="A study of params.yaml, or a carried folder.")],
    profile: Profile = None,
    pairs: Pairs = None,
    replicas: Replicas = None,
    epochs: Epochs = None,
    set_: Set = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Fill an MLflow store from runs/STUDY and results/STUDY.

    Also an empty or a remote one. After `git clone` and `dvc pull`: trainings with their checkpoints, pairs, cells
    and the view. Nothing is trained or measured, and no data set is needed. What is there already is left alone;
    after an interruption, call it again. Another --profile than the active one is looked for below out/, where `lmc
    run` writes.

    A folder, made elsewhere by `lmc run --no-tracking`, is checked first: links, checksums, versions, counts, and that
    its runs are those of params.yaml under the options given here. Runs and pairs without weights get the tag
    lmc.weights: they can be looked at, not compared with others.
    """
    from lmc_repro.cli.publish import publish_command
    from lmc_repro.cli.settings import parse_settings
    from lmc_repro.studies.expand import Choice

    settings = parse_settings(tuple(set_ or ()))
    choice = Choice(profile, pairs=pairs, replicas=replicas, epochs=epochs, settings=settings)
    publish_command(study, choice, tracking_uri)


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
        float | None,
        typer.Option(min=0.0, max=1.0, help="Below it an end is undertrained; default: halfway from chance to 1."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "cpu",
    plot: Annotated[Path | None, typer.Option(help="Draw the path into this file, .png or .svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the barrier between two weight files.

    For weights from anywhere. Prints error and loss at every alpha of (1 - alpha) A + alpha B, barriers, and a small
    curve; writes nothing but --plot, and needs no project but for a data set that has to be prepared. Statuses are
    judged by the train error: an end that diverged or collapsed has no barrier, and is never called connected.

    --model FILE.py:FUNCTION and module:FUNCTION (the working folder is on Python's path) RUN THAT CODE: name none that
    you do not trust. Weight files run none: pickled ones are refused. An .npz holds x_train, y_train, x_test, y_test:
    images uint8, normalised by the training images' mean and deviation, or floats, which the module sees as they are.

    BatchNorm's running statistics are never averaged: at every alpha, ends included, they are reset and estimated
    anew from the training images, batch by batch (arXiv 2211.08403). Other buffers must be equal in A and B.
    """
    from lmc_repro.cli.barrier import Asked, barrier_command

    asked = Asked(model, data, points, split, batch_size, min_train_accuracy, device, as_json, plot)
    barrier_command(first, second, asked)
