"""Commands around files: barrier of two weight files, publish of finished folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmc_repro.cli import options as opt

if TYPE_CHECKING:
    from lmc_repro.common.progress import Listener
    from lmc_repro.data.custom_dataset import Samples

THRESHOLD = 2.0
"""Points of error (Frankle et al. 2020), where no project says otherwise."""


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
    align: opt.Align = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the path into this file, .png or .svg.")] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Measure the barrier between two weight files.

    Takes weights from anywhere. Prints error and loss at every alpha of (1 - alpha) A + alpha B, barriers, and a small
    curve; writes nothing but --plot, and needs no project but for a data set that has to be prepared. Statuses are
    judged by the train error: an end that diverged or collapsed has no barrier, and is never called connected.

    --model FILE.py:FUNCTION and module:FUNCTION (the working folder is on Python's path) RUN THAT CODE: name none that
    you do not trust. Weight files run none: pickled ones are refused. An .npz holds x_train, y_train, x_test, y_test:
    images uint8, normalised by the training images' mean and deviation, or floats, which the module sees as they are.

    BatchNorm's running statistics are never averaged: at every alpha, ends included, they are estimated anew, those
    of one batch of all training images (arXiv 2211.08403). Other buffers must be equal in A and B.
    """
    from lmc_repro.cli.progress import listener
    from lmc_repro.cli.session import begin, path_config, print_json
    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.files import sha256_file
    from lmc_repro.common.project import find_project
    from lmc_repro.config.load import load_params
    from lmc_repro.config.study import Judgement
    from lmc_repro.pipeline.workspace import resolve_device

    if split not in ("train", "test", "both"):
        raise LmcError(f"--split: found {split!r}, allowed: train, test, both")
    judgement = Judgement(threshold=THRESHOLD)
    try:
        project = find_project()
    except LmcError:  # weight files need none
        pass
    else:
        params = load_params(project.params)
        judgement = params.profiles[params.profile].judgement
        begin(params, params.profile)
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.notebook.barrier_from_files import measure_files
    from lmc_repro.notebook.network import OwnModule, read_network
    from lmc_repro.notebook.paths import Picture, require_picture

    if plot is not None:
        require_picture(plot)
    network = read_network(model)
    samples = _samples(data, listener())
    if min_train_accuracy is not None:
        judgement = judgement.model_copy(update={"min_train_accuracy": min_train_accuracy})
    shown = [name for name in SPLITS if split in (name, "both")]
    only = shown[0] if len(shown) == 1 else None
    ends, path = (first, second), path_config(align)
    result = measure_files(ends, network, samples, points, only, batch_size, resolve_device(device), path)
    from lmc_repro.report.path_text import path_lines, point_lines, split_records

    files = [
        {"file": str(file), "sha256": sha256_file(file), "status": status}
        for file, status in zip(ends, result.status, strict=True)
    ]
    splits = split_records(result, judgement, samples.classes, shown)
    record: dict[str, Any] = {
        "files": files,
        "model": {"name": network.name} if isinstance(network, OwnModule) else network.model_dump(mode="json"),
        "data": {"name": samples.name, "digest": samples.digest, "classes": samples.classes},
        "points": points,
        "threshold": judgement.threshold,
        **path.given(),
        **splits,
    }
    if plot is not None:
        from lmc_repro.report.pair_figure import curves_figure

        title = f"{first.name} and {second.name} on {samples.name}"
        note = "" if result.barriers else f"no barrier: endpoints {' and '.join(result.status)}"
        curves = {name: result.curves[name] for name in shown}
        Picture(**curves_figure(curves, result.barriers, f"{title}\n{note}")).save(plot)
        typer.echo(f"plot: {plot}", err=True)
    if as_json:
        print_json(record)
        return
    for i, end in enumerate(files):
        print(f"theta_{i}: {end['file']}, {end['status']}")
    if files[0]["sha256"] == files[1]["sha256"]:
        print("the two files are one and the same: the line between them is a point")
    if align is not None:
        print(f"theta_1 is aligned by {align}")
    print("\n".join(point_lines(splits)))
    print(f"{points} points on {samples.name}, in percentage points:")
    print("\n".join(path_lines(splits, judgement.threshold)))


def _samples(name: str, told: Listener) -> Samples:
    """Return the data that `--data` names, a data set of the catalog prepared if need be."""
    from lmc_repro.cli.progress import Parts
    from lmc_repro.cli.session import ready_dataset
    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.project import find_project
    from lmc_repro.config.catalog import CATALOG
    from lmc_repro.config.load import load_params
    from lmc_repro.data.custom_dataset import of_dataset, read_unlisted
    from lmc_repro.notebook.runs import load_dataset

    if (info := CATALOG.get(name)) is not None:
        if info.embedded:
            return of_dataset(load_dataset(name))
        project = find_project()
        return of_dataset(load_dataset(name, ready_dataset(project, load_params(project.params), name, told)))
    if not (place := Path(name)).exists():
        allowed = f"one of {', '.join(sorted(CATALOG))}, an .npz, or a folder of images"
        raise LmcError(f"--data: found {name!r}, allowed: {allowed}")
    parts = Parts(told)
    try:
        return read_unlisted(place, parts.on_progress)
    finally:
        parts.end()


def publish(
    study: Annotated[str, typer.Argument(metavar="STUDY_OR_DIR", help="A study of params.yaml, or a carried folder.")],
    profile: opt.Profile = None,
    pairs: opt.Pairs = None,
    replicas: opt.Replicas = None,
    epochs: opt.Epochs = None,
    set_: opt.Set = None,
    tracking_uri: opt.TrackingUri = None,
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
    from lmc_repro.cli.session import parse_settings
    from lmc_repro.config.expand import Choice

    settings = parse_settings(set_ or ())
    choice = Choice(profile, pairs=pairs, replicas=replicas, epochs=epochs, settings=settings)
    publish_command(study, choice, tracking_uri)
