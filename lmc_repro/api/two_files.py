"""The path between two weight files of one's own: a network of the registry, or any torch module."""

from __future__ import annotations

import copy
from functools import partial

import torch

from lmc_repro.api.network import OwnModule, own_code
from lmc_repro.api.runs import one_thread
from lmc_repro.api.weight_files import Ends, Weights, check_shapes, load_into, read_ends
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.modules import path_between
from lmc_repro.barriers.pair import judge_mark
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.results import MarkResult
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.unlisted import Batches, Samples
from lmc_repro.errors import LmcError
from lmc_repro.models.names import network as named
from lmc_repro.models.registry import build_model
from lmc_repro.schemas.model import ModelSettings

BATCH = 1000
"""Samples that a module of one's own sees at once, unless it is told otherwise."""


def measure_files(
    paths: Ends,
    network: ModelSettings | OwnModule,
    samples: Samples,
    points: int = 11,
    split: SplitName | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
) -> MarkResult:
    """Return curves, statuses and barriers of the line between the weights in two safetensors files.

    `split` leaves the other one out: its curve has the two ends only, for a status is always judged by the train
    error. `batch_size` is for modules; a network of the registry is evaluated as after its training, on a CPU to the
    same bits. Barriers are None where an end is collapsed, or has a loss that is not finite. LmcError, one line, for
    what does not fit together.
    """
    weights = read_ends(paths)
    wanted = {each: points if split in (None, each) else 2 for each in SPLITS}
    if isinstance(network, OwnModule):
        curves = _of_module(paths, weights, network, samples, wanted, batch_size or BATCH, torch.device(device))
    else:
        if batch_size is not None:
            raise LmcError(f"--batch-size: a network of kind {network.kind} has a batch of its own; leave it out")
        curves = _of_registry(paths, weights, network, samples, points, torch.device(device))
    first, last = (any(curve.loss[end] is None for curve in curves.values()) for end in (0, -1))
    diverged = (0.0 if first else None, 0.0 if last else None)
    return judge_mark(0.0, curves, diverged, samples.classes, samples.train.largest_class)


def _of_registry(
    paths: Ends,
    weights: tuple[Weights, Weights],
    network: ModelSettings,
    samples: Samples,
    points: int,
    device: torch.device,
) -> dict[SplitName, Curve]:
    if samples.info is None:
        raise LmcError(
            f"--data {samples.name}: holds floats, and a network of kind {network.kind} sees images; make x_train and "
            "x_test uint8, or give --model FILE.py:FUNCTION"
        )
    dataset = Dataset(samples.info, samples.train, samples.test, samples.digest).to(device)
    model = build_model(network, samples.info)
    check_shapes(weights[0], model.shapes, paths[0], f"{named(network.model_dump(mode='json'))} on {samples.name}")
    with one_thread(), torch.no_grad():
        return path_curves(model, *weights, dataset, points, device)


def _of_module(
    paths: Ends,
    weights: tuple[Weights, Weights],
    network: OwnModule,
    samples: Samples,
    points: dict[SplitName, int],
    batch_size: int,
    device: torch.device,
) -> dict[SplitName, Curve]:
    first = network.make()
    ends = first, own_code(f"--model {network.name}", lambda: copy.deepcopy(first))  # tensors that are random: once
    for module, tensors, path in zip(ends, weights, paths, strict=True):
        load_into(module, tensors, path, network.name)
        module.to(device)
    parts = {"train": samples.train, "test": samples.test}
    loaders = {name: Batches(part, samples.info, batch_size) for name, part in parts.items()}
    where = f"--model {network.name} on {samples.name}"
    curves: dict[SplitName, Curve] = {}
    for name in SPLITS:
        measure = partial(path_between, *ends, loaders[name], points[name], recalibrate=loaders["train"])
        curves[name] = own_code(where, measure)
    return curves
