"""Commands around files: barrier of two weight files, publish of finished folders."""

from __future__ import annotations

import dataclasses
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, echo

from lmc_repro.cli import options as opt
from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError, choices
from lmc_repro.common.progress import Listener, listener
from lmc_repro.common.project import find_project

if TYPE_CHECKING:
    from lmc_repro.data.custom_dataset import Samples

THRESHOLD = 2.0
"""Points of error (Frankle et al. 2020), where no project says otherwise."""


def barrier(
    first: Annotated[Path, Argument(metavar="A", help="A safetensors file: the weights at alpha 0.")],
    second: Annotated[Path, Argument(metavar="B", help="Another: those at alpha 1.")],
    model: Annotated[
        str,
        Option(
            metavar="MODEL",
            help="mlp:depth=2,width=128 (a kind and its settings), '{kind: mlp, ...}', a run's config.json, or "
            "FILE.py:FUNCTION or module:FUNCTION, whose code is run and returns an nn.Module.",
        ),
    ],
    data: Annotated[
        str,
        Option(
            metavar="DATA", help="digits, mnist, ..., FILE.py:NAME; an .npz; a folder of train/CLASS/ and test/CLASS/."
        ),
    ],
    points: Annotated[
        int, Option(metavar="N", min=3, max=bounds.POINTS, help="Alphas on the path, ends included.")
    ] = 11,
    split: Annotated[str, Option(metavar="SPLIT", help="train, test or both.")] = "both",
    batch_size: Annotated[
        int | None, Option(metavar="N", min=1, max=bounds.BATCH, help="For a module of your own; default 1000.")
    ] = None,
    min_train_accuracy: Annotated[
        float | None,
        Option(
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Below it an end is undertrained; default: halfway from chance to 1.",
        ),
    ] = None,
    device: Annotated[str, Option(metavar="DEVICE", help="cpu, cuda, or auto.")] = "cpu",
    align: opt.Align = None,
    plot: Annotated[
        Path | None, Option(metavar="FILE", help="Draw the path into this file: .pdf, .png or .svg.")
    ] = None,
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
    from lmc_repro.cli.session import begin, load_project, path_config, say
    from lmc_repro.config.study import Judgement
    from lmc_repro.engine.devices import resolve_device

    if split not in ("train", "test", "both"):
        raise LmcError(f"--split: {choices(split, ('train', 'test', 'both'))}")
    judgement = Judgement(threshold=THRESHOLD)
    try:
        find_project()
    except LmcError:  # weight files need none
        pass
    else:
        _, params = load_project()
        judgement = params.profiles[params.profile].judgement
        begin(params, params.profile)
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.notebook.barrier_from_files import files_lines, files_record, measure_files, read_network
    from lmc_repro.notebook.paths import picture_of
    from lmc_repro.report.figures import picture_kind

    if plot is not None:
        picture_kind(plot, "--plot ")
    if min_train_accuracy is not None:
        judgement = judgement.model_copy(update={"min_train_accuracy": min_train_accuracy})
    shown = [name for name in SPLITS if split in (name, "both")]
    only = shown[0] if len(shown) == 1 else None
    ends, path = (first, second), path_config(align)
    notes: list[str] = []
    with redirect_stdout(sys.stderr):  # whatever a module of the user's prints, JSON stays JSON
        network, samples = read_network(model), _samples(data, listener())
        epoch = measure_files(
            ends, network, samples, points, only, batch_size, resolve_device(device), path, notes.append
        )
    for note in notes:
        echo(note, err=True)
    if plot is not None:
        picture_of(epoch, f"{first.name} and {second.name} on {samples.name}", shown).save(plot)
        echo(f"plot: {plot}", err=True)
    record = files_record(ends, network, samples, epoch, judgement, path, shown, notes)
    say(record, files_lines(record), as_json)


def _samples(name: str, notify: Listener) -> Samples:
    """Return the data that `--data` names, a data set of the catalog prepared if need be."""
    from lmc_repro.cli.session import load_project, parts, ready_dataset
    from lmc_repro.config.catalog import CATALOG, dataset_info
    from lmc_repro.config.own_code import is_own
    from lmc_repro.data.custom_dataset import of_dataset, read_unlisted
    from lmc_repro.notebook.runs import load_dataset

    if name in CATALOG or is_own(name):
        if dataset_info(name, "--data").embedded:
            return of_dataset(load_dataset(name))
        return of_dataset(load_dataset(name, ready_dataset(*load_project(), name, notify)))
    if not (place := Path(name)).exists():
        allowed = (*CATALOG, "FILE.py:NAME", "an .npz", "or a folder of images")
        raise LmcError(f"--data: {choices(name, allowed)}")
    with parts(notify) as on_progress:
        return read_unlisted(place, on_progress)


def publish(
    study: Annotated[
        str,
        Argument(
            metavar="STUDY | DIR", autocompletion=opt.studies, help="A study of params.yaml, or a carried folder."
        ),
    ],
    profile: opt.Profile = None,
    pairs: opt.Pairs = None,
    trainer_seeds: opt.TrainerSeeds = None,
    replicas: opt.Replicas = None,
    epochs: opt.Epochs = None,
    set_: opt.Set = None,
    tracking_uri: opt.TrackingUri = None,
) -> None:
    """Fill an MLflow store from runs/STUDY and results/STUDY.

    Writes trainings with their checkpoints, pairs, cells and the view, for example after `git clone` and `dvc pull`;
    the store may be empty or on a server. Nothing is trained or measured, and no data set is needed. A run that the
    store holds with the same content stays unchanged. The same command completes an interrupted one. Runs of another
    --profile than the active one are looked for below out/, where `lmc run` writes.

    A folder, made elsewhere by `lmc run --no-tracking`, is checked first: links, checksums, versions, counts, and that
    its runs are those of params.yaml under the options given here. Runs and pairs without weights get the tag
    lmc.weights: they can be looked at, not compared with others.
    """
    from lmc_repro.cli.session import begin, load_project, parse_settings
    from lmc_repro.config.expand import Choice, plan_study

    settings = parse_settings(set_ or (), trainer_seeds)
    choice = Choice(profile, pairs=pairs, replicas=replicas, epochs=epochs, settings=settings)
    (project, params), carried = load_project(), None
    if study not in params.studies and Path(study).is_dir():
        from lmc_repro.pipeline.carried import carried_study

        carried = Path(study)
        found = carried_study(carried)
        if profile not in (None, found.profile):
            raise LmcError(f"--profile {profile}: {carried} is of profile {found.profile}; leave --profile out")
        study, choice = found.study, dataclasses.replace(choice, profile=found.profile)
    plan = plan_study(params, study, choice)
    notify = begin(params, plan.profile)
    from lmc_repro.pipeline.publish import publish_carried, publish_study
    from lmc_repro.tracking.store import TRACKING_URI, require_store

    if tracking_uri is not None:
        os.environ[TRACKING_URI] = tracking_uri
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; by default minutes
    require_store(project)
    if carried is not None:
        print(publish_carried(project, plan, carried.resolve(), notify))
        return
    runs, results, out = project.runs / study, project.results / study, project.out / plan.profile / study
    if plan.profile != params.profile or not any(runs.glob("*/status.json")):
        runs, results = out / "runs", out / "results" / study
    print(publish_study(project, plan, runs, results, notify))
