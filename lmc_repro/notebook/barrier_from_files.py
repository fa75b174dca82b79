"""Barrier between two weight files of a network, which `--model` names: of the registry, or a module of one's own."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.methods import path_methods
from lmc_repro.barriers.modules import align_modules, half_types, measured
from lmc_repro.barriers.pair import judge_epoch
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.results import EpochResult
from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.config.load import parse_yaml, read_yaml, validate
from lmc_repro.config.own_code import is_own, pinned, short_name
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.registry import ALIGNMENTS, MODELS, settings_class
from lmc_repro.config.run import ModelSettings
from lmc_repro.config.study import Judgement
from lmc_repro.data.custom_dataset import Batches, Samples
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.module import check_sized
from lmc_repro.models.registry import build_model
from lmc_repro.models.registry import network as named
from lmc_repro.notebook import weight_files
from lmc_repro.notebook.runs import one_thread
from lmc_repro.notebook.weight_files import Ends, Note, Weights
from lmc_repro.report.run_text import path_lines, point_lines, split_records

BATCH = 1000
"""Default batch size of a module of one's own."""


ALLOWED = (
    f"a kind ({', '.join(MODELS)}) with its settings as in mlp:depth=2,width=128, the same as {{kind: mlp, ...}}, a "
    "run's config.json, or FILE.py:FUNCTION or module:FUNCTION that returns an nn.Module"
)


@dataclass(frozen=True)
class OwnModule:
    """A user's function, by the name that it was given."""

    name: str
    build: Callable[[], Any]

    def make(self) -> nn.Module:
        """Call the function; LmcError, naming the line, if it raises something or returns no module."""
        made = own_code(f"--model {self.name}", self.build)
        if not isinstance(made, nn.Module):
            raise LmcError(f"--model {self.name}: returned a {type(made).__name__}, expected an nn.Module")
        check_sized(made, f"--model {self.name}")
        return made


def read_network(text: str) -> ModelSettings | OwnModule:
    """Return the network that `--model` names; LmcError, one line, if there is none. Imports a user's own module."""
    kind, colon, rest = text.partition(":")
    if text.lstrip().startswith("{"):
        return _settings(parse_yaml(text, "--model"), "--model")
    if kind in MODELS:
        values: dict[str, Any] = {"kind": kind}
        for part in rest.split(",") if rest else ():
            key, equals, value = part.partition("=")
            if not equals:
                raise LmcError(f"--model {text}: found {part!r}, allowed: KEY=VALUE, e.g. {kind}:slope=0.0")
            values[key.strip()] = parse_yaml(value, f"--model {text}: {key.strip()}")
        return _settings(values, f"--model {text}")
    if text.endswith((".json", ".yaml", ".yml")):
        return _of_file(Path(text))
    module, colon, function = text.rpartition(":")
    if not colon or not module or not function:
        raise LmcError(f"--model: found {text!r}, allowed: {ALLOWED}")
    found: Any = own_code(f"--model {text}", lambda: _import(module, text))
    for name in function.split("."):
        if not hasattr(found, name):
            raise LmcError(f"--model {text}: {module} has no {name}; name a function that returns an nn.Module")
        found = getattr(found, name)
    if not callable(found):
        raise LmcError(f"--model {text}: is a {type(found).__name__}, expected a function that returns an nn.Module")
    return OwnModule(text, found)


def _import(name: str, text: str) -> ModuleType:
    """Return a module by its name or its file, whose folder is on Python's path from now on."""
    path = Path(name).resolve() if name.endswith(".py") else None
    if path is not None and not path.is_file():
        raise LmcError(f"--model {text}: {name}: no such file")
    if (folder := str(path.parent if path else Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    if path is None:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise LmcError(f"--model {text}: no module {error.name} in {folder}, nor is one installed") from None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # of a name that ends with .py
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _of_file(path: Path) -> ModelSettings:
    """Return the network of a run's config.json, or of a file that holds a network's settings alone."""
    values = read_yaml(path)
    if isinstance(values, dict) and "model" in values:
        data = values.get("data")
        if isinstance(data, dict) and data.get("label_noise"):
            raise LmcError(f"{path}: its labels were noisy, and those of --data are not; use `lmc compare RUN_A RUN_B`")
        values = values["model"]
    return _settings(values, str(path))


def _settings(values: Any, name: str) -> ModelSettings:
    kind = values.get("kind") if isinstance(values, dict) else None
    if isinstance(kind, str) and is_own(kind):
        values = {**values, "kind": pinned(kind)}
    elif kind not in MODELS:
        raise LmcError(f"{name}: kind: found {kind!r}, allowed: {', '.join(MODELS)}, FILE.py:NAME")
    return cast(ModelSettings, validate(settings_class(MODELS, str(kind)), values, name))


def measure_files(
    paths: Ends,
    network: ModelSettings | OwnModule,
    samples: Samples,
    points: int = 11,
    split: SplitName | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    path: PathConfig = PLAIN_PATH,
    note: Note = lambda text: None,
) -> EpochResult:
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
        note: Told, a line each, what was done to weights and module: cast to float32, read without a prefix.

    Returns:
        Barriers are None where an end is collapsed, or has a loss that is not finite.

    Raises:
        LmcError: The files, the network and the data do not fit together; names the first key.
    """
    weights = weight_files.read_weights(paths[0], note), weight_files.read_weights(paths[1], note)
    wanted = {each: points if split in (None, each) else 2 for each in SPLITS}
    if isinstance(network, OwnModule):
        if path.align not in ALIGNMENTS:
            raise LmcError(f"--align: found {short_name(path.align)!r}, allowed with a module: {', '.join(ALIGNMENTS)}")
        size, place = batch_size or BATCH, torch.device(device)
        curves = _of_module(paths, weights, network, samples, wanted, size, place, path.align, note)
    else:
        if batch_size is not None:
            raise LmcError(
                f"--batch-size: a network of kind {short_name(network.kind)} has a batch of its own; leave it out"
            )
        curves = _of_registry(paths, weights, network, samples, points, torch.device(device), path, note)
    first, last = (any(curve.loss[end] is None for curve in curves.values()) for end in (0, -1))
    diverged = (0.0 if first else None, 0.0 if last else None)
    return judge_epoch(0.0, curves, diverged, samples.classes, samples.train.largest_class)


def files_record(
    ends: Ends,
    network: ModelSettings | OwnModule,
    samples: Samples,
    epoch: EpochResult,
    judgement: Judgement,
    path: PathConfig,
    splits: Sequence[SplitName],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the result of `measure_files` on `splits`, its inputs and its `notes`, for JSON."""
    return {
        "files": [
            {"file": str(file), "sha256": weight_files.digest(file), "status": status}
            for file, status in zip(ends, epoch.status, strict=True)
        ],
        "notes": list(notes),
        "model": {"name": network.name} if isinstance(network, OwnModule) else network.model_dump(mode="json"),
        "data": {"name": samples.name, "digest": samples.digest, "classes": samples.classes},
        "points": len(epoch.curves[splits[0]].wrong),
        "threshold": judgement.threshold,
        **path.given(),
        **split_records(epoch, judgement, samples.classes, splits),
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
    note: Note,
) -> dict[SplitName, Curve]:
    if samples.info is None:
        raise LmcError(
            f"--data {samples.name}: holds floats, and a network of kind {short_name(network.kind)} sees images; "
            "make x_train and x_test uint8, or give --model FILE.py:FUNCTION"
        )
    dataset = Dataset(samples.info, samples.train, samples.test, samples.digest).to(device)
    model = build_model(network, samples.info)
    first, second = weight_files.fitting_ends(paths, weights, model.shapes, note)
    weight_files.check_shapes(
        first, model.shapes, paths[0], f"{named(network.model_dump(mode='json'))} on {samples.name}"
    )
    methods = path_methods(path)
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
    align: str,
    note: Note,
) -> dict[SplitName, Curve]:
    first = network.make()
    if found := half_types(first):
        note(f"--model {network.name}: {found} cast to float32")
        first.float()
    ends = first, own_code(f"--model {network.name}", lambda: copy.deepcopy(first))  # tensors that are random: once
    weights = weight_files.fitting_ends(paths, weights, first.state_dict(), note)
    for module, tensors, path in zip(ends, weights, paths, strict=True):
        weight_files.load_into(module, tensors, path, network.name)
        module.to(device)
    parts = {"train": samples.train, "test": samples.test}
    loaders = {name: Batches(part, samples.info, batch_size) for name, part in parts.items()}
    where = f"--model {network.name} on {samples.name}"
    if align != "none":
        ends = first, own_code(where, lambda: align_modules(*ends, loaders["train"], align))
    curves: dict[SplitName, Curve] = {}
    for name in SPLITS:
        measure = partial(measured, *ends, loaders[name], points[name], recalibrate=loaders["train"])
        curves[name] = own_code(where, measure)
    return curves
