"""Barrier between two safetensors files: read without running code, checked to fit, measured on the line between."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.methods import path_methods
from lmc_repro.barriers.modules import path_between
from lmc_repro.barriers.pair import judge_mark
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.results import MarkResult
from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.common.files import sha256_file
from lmc_repro.config.own_code import short_name
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.registry import MODELS
from lmc_repro.config.run import ModelSettings
from lmc_repro.config.study import Judgement
from lmc_repro.data.custom_dataset import Batches, Samples
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.registry import build_model
from lmc_repro.models.registry import network as named
from lmc_repro.notebook.network import OwnModule
from lmc_repro.notebook.runs import one_thread
from lmc_repro.report.path_text import path_lines, point_lines, split_records

Weights = dict[str, Tensor]
Ends = tuple[Path, Path]

BATCH = 1000
"""Default batch size of a module of one's own."""


def measure_files(
    paths: Ends,
    network: ModelSettings | OwnModule,
    samples: Samples,
    points: int = 11,
    split: SplitName | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    path: PathConfig = PLAIN_PATH,
) -> MarkResult:
    """Return curves, statuses and barriers of the line between the weights in two safetensors files.

    Args:
        paths: The files of theta_0 and theta_1.
        network: Settings of a registry network, evaluated as after its training (on a CPU to the same bits), or a
            function that makes a module.
        samples: Train and test samples; BatchNorm is estimated on the train samples.
        points: Evenly spaced alphas, both ends included.
        split: Leaves the other split out: its curve has the two ends only, since a status needs the train error.
        batch_size: Samples per batch of a module, `BATCH` by default.
        device: cpu or cuda.
        path: What the path is made with, for a registry network.

    Returns:
        Barriers are None where an end is collapsed, or has a loss that is not finite.

    Raises:
        LmcError: The files, the network and the data do not fit together; names the first key.
    """
    weights = read_ends(paths)
    wanted = {each: points if split in (None, each) else 2 for each in SPLITS}
    if isinstance(network, OwnModule):
        if path.given():
            allowed = f"allowed: a network of kind {', '.join(kind for kind in MODELS if kind != 'module')}"
            raise LmcError(f"--align: module {network.name} names no units to align; {allowed}")
        curves = _of_module(paths, weights, network, samples, wanted, batch_size or BATCH, torch.device(device))
    else:
        if batch_size is not None:
            raise LmcError(
                f"--batch-size: a network of kind {short_name(network.kind)} has a batch of its own; leave it out"
            )
        curves = _of_registry(paths, weights, network, samples, points, torch.device(device), path)
    first, last = (any(curve.loss[end] is None for curve in curves.values()) for end in (0, -1))
    diverged = (0.0 if first else None, 0.0 if last else None)
    return judge_mark(0.0, curves, diverged, samples.classes, samples.train.largest_class)


def files_record(
    ends: Ends,
    network: ModelSettings | OwnModule,
    samples: Samples,
    mark: MarkResult,
    judgement: Judgement,
    path: PathConfig,
    splits: Sequence[SplitName],
) -> dict[str, Any]:
    """Return the result of `measure_files` on `splits`, and its inputs, for JSON."""
    return {
        "files": [
            {"file": str(file), "sha256": sha256_file(file), "status": status}
            for file, status in zip(ends, mark.status, strict=True)
        ],
        "model": {"name": network.name} if isinstance(network, OwnModule) else network.model_dump(mode="json"),
        "data": {"name": samples.name, "digest": samples.digest, "classes": samples.classes},
        "points": len(mark.curves[splits[0]].wrong),
        "threshold": judgement.threshold,
        **path.given(),
        **split_records(mark, judgement, samples.classes, splits),
    }


def files_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a record of `files_record`."""
    for i, end in enumerate(record["files"]):
        yield f"theta_{i}: {end['file']}, {end['status']}"
    if len({end["sha256"] for end in record["files"]}) == 1:
        yield "the two files are one and the same: the line between them is a point"
    if align := record.get("align"):
        yield f"theta_1 is aligned by {short_name(align)}"
    yield from point_lines(record)
    yield f"{record['points']} points on {record['data']['name']}, in percentage points:"
    yield from path_lines(record, record["threshold"])


def _of_registry(
    paths: Ends,
    weights: tuple[Weights, Weights],
    network: ModelSettings,
    samples: Samples,
    points: int,
    device: torch.device,
    path: PathConfig,
) -> dict[SplitName, Curve]:
    if samples.info is None:
        raise LmcError(
            f"--data {samples.name}: holds floats, and a network of kind {short_name(network.kind)} sees images; "
            "make x_train and x_test uint8, or give --model FILE.py:FUNCTION"
        )
    dataset = Dataset(samples.info, samples.train, samples.test, samples.digest).to(device)
    model = build_model(network, samples.info)
    check_shapes(weights[0], model.shapes, paths[0], f"{named(network.model_dump(mode='json'))} on {samples.name}")
    methods, (first, second) = path_methods(path), weights
    with one_thread(), torch.no_grad():
        second = dict(methods.aligned(model, first, second, dataset, seed=0))
        return path_curves(model, first, second, dataset, points, device, methods)


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


def read_weights(path: Path) -> Weights:
    """Return the tensors of a safetensors file by name; LmcError if it is none, or a number in it is not finite."""
    if not path.is_file():
        raise LmcError(f"{path}: no such file; name two safetensors files")
    try:
        weights = load_file(path)
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror or error}); fix its permissions") from None
    except SafetensorError as error:
        fix = "write it with safetensors.torch.save_file(model.state_dict(), ...); pickled weights are not read"
        raise LmcError(f"{path}: not a safetensors file ({' '.join(str(error).split())}); {fix}") from None
    if not weights:
        raise LmcError(f"{path}: holds no tensors; write the model's state_dict")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise LmcError(f"{path}: {name} has numbers that are not finite: this network diverged; take another one")
    return weights


def read_ends(paths: Ends) -> tuple[Weights, Weights]:
    """Return the weights at both ends; LmcError, naming the first key, unless their keys, shapes and types are one."""
    first, second = (read_weights(path) for path in paths)
    for name in [*first, *second]:
        if name not in first or name not in second:
            has, lacks = paths if name in first else paths[::-1]
            raise LmcError(f"{name}: in {has}, not in {lacks}; no line leads between two architectures")
        if (a := _told(first[name])) != (b := _told(second[name])):
            raise LmcError(f"{name}: {a} in {paths[0]}, {b} in {paths[1]}; no line leads between two architectures")
    return first, second


def check_shapes(weights: Weights, shapes: Mapping[str, tuple[int, ...]], path: Path, model: str) -> None:
    """LmcError, naming the first key, unless a file holds what a network has."""
    for name in [*shapes, *weights]:
        if name not in weights:
            raise LmcError(f"{path}: has no {name}, which {model} has; fix --model")
        if name not in shapes:
            raise LmcError(f"{path}: has {name}, which {model} has not; fix --model")
        if tuple(weights[name].shape) != tuple(shapes[name]):
            found, expected = list(weights[name].shape), list(shapes[name])
            raise LmcError(f"{path}: {name} is {found}, of {model} it is {expected}; fix --model")


def load_into(module: nn.Module, weights: Weights, path: Path, model: str) -> None:
    """Copy a file's tensors to a module's; of tensors that the module shares, the file may hold one alone.

    LmcError, naming the first key, for other keys or shapes, or numbers that the module's type cannot hold.
    """
    state = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    shared = {tensor.data_ptr() for name, tensor in state.items() if name in weights and tensor.numel()}
    needed = {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if name in weights or not tensor.numel() or tensor.data_ptr() not in shared
    }
    check_shapes(weights, needed, path, model)
    for name, tensor in weights.items():
        if torch.promote_types(tensor.dtype, state[name].dtype) != state[name].dtype:
            found, expected = tensor.dtype, state[name].dtype
            raise LmcError(f"{path}: {name} is {found}, of {model} {expected}; make the model {found}")
    module.load_state_dict(weights, strict=False)


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
