"""Data sets, configs and trainings, for notebooks: the stages' own code on data and weights in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmc_repro.barriers.pair import PairEnd
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag, use_one_thread
from lmc_repro.common.project import find_project
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import validate
from lmc_repro.config.own_code import short_name
from lmc_repro.config.run import RunConfig
from lmc_repro.data import dataset as prepared_data
from lmc_repro.data.dataset import Dataset, data_digest
from lmc_repro.data.readers import read_arrays
from lmc_repro.engine.devices import require_precision, resolve_device
from lmc_repro.pipeline.workspace import prepared_dir
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import MetricRow, RunFolder
from lmc_repro.training.stack import stack_key
from lmc_repro.training.trainer import Event, StackedRun, train_stack

DEFAULTS: dict[str, dict[str, float]] = {"sgd": {"momentum": 0.9}, "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}}
"""Defaults of `run_config` for an optimizer: params.yaml's own values."""


@dataclass(frozen=True)
class Run:
    """A finished training: its config, its last weights by name, its scores at evaluation epochs, its status.json."""

    config: RunConfig
    fingerprint: str
    weights: dict[str, Tensor]
    metrics: tuple[MetricRow, ...]
    status: Mapping[str, Any]

    def error(self, split: str = "test") -> float | None:
        """Return the share of wrong predictions on a split after the last epoch."""
        last = [row.error for row in self.metrics if row.split == split and row.epoch == self.config.epochs]
        return last[-1] if last else None


def load_dataset(name: str = "digits", prepared: str | os.PathLike[str] | None = None) -> Dataset:
    """Return a data set of the catalog or FILE.py:NAME; digits are embedded, others lie where `lmc prepare` put them.

    `prepared` is the folder that holds them, by default the project's. LmcError if the data set is not there.
    """
    info = dataset_info(name)
    if prepared is None and info.embedded:
        with one_thread():  # chooses the numerics before torch's first operation
            train, test = read_arrays(info, Path())
            return Dataset(info, train, test, data_digest(train, test))
    place = Path(prepared) if prepared else prepared_dir(find_project(), [name])
    with one_thread():
        return prepared_data.load_dataset(place, name)


def run_config(
    dataset: str = "digits",
    *,
    model: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    batch_size: int,
    epochs: int,
    trainer_seed: int = 0,
    loader_seed: int = 0,
    augmentation_seed: int | None = None,
    data: Mapping[str, Any] | None = None,
    **more: Any,
) -> RunConfig:
    """Return the config of one run; `model`, `optimizer` and the rest as in a run folder's config.json.

    `data` holds augment, label_noise, order, drop_last; `more` clip, schedule and evaluate_at (default: the start and
    the end). SGD's momentum and ADAM's betas and eps have the usual values where none are given. LmcError, one line,
    for a value or a key that cannot be.
    """
    values = {
        "evaluate_at": [0, epochs],
        **more,
        "data": {**(data or {}), "dataset": dataset},
        "model": dict(model),
        "optimizer": {**DEFAULTS.get(str(optimizer.get("kind")), {}), **optimizer},
        "batch_size": batch_size,
        "epochs": epochs,
        "seeds": {"trainer": trainer_seed, "loader": loader_seed, "augmentation": augmentation_seed},
    }
    return validate(RunConfig, values, "run_config")


def train(
    configs: RunConfig | Sequence[RunConfig],
    dataset: Dataset,
    folder: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Run]:
    """Train runs and return them in order; those that differ in little more than seeds are trained side by side.

    One config is a list of one.

    With `folder` their run folders stay there: a finished one is read back, an interrupted one is resumed. `on_event`
    receives every epoch. One thread, as everywhere here, so that a run's bits are its own. `device` is cpu, cuda or
    auto; LmcError for one that is not there, and for a precision that it does not have.
    """
    configs = [configs] if isinstance(configs, RunConfig) else configs
    if others := sorted({short_name(config.data.dataset) for config in configs} - {dataset.info.name}):
        found = f"the configs are for data set {', '.join(others)}, the data set given is {dataset.info.name}"
        raise LmcError(f"{found}; train those of each data set by themselves")
    device = resolve_device(device)
    require_precision(configs, device)
    tag = numerics_tag(device, {config.precision for config in configs})
    identity = data_identity(dataset.info, dataset.digest)
    with one_thread(), tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch if folder is None else folder)
        names = [run_fingerprint(config, identity, tag) for config in configs]
        stacked = {
            name: StackedRun(config, RunFolder(root / name)) for name, config in zip(names, configs, strict=True)
        }
        stacks: dict[str, list[StackedRun]] = {}
        for one in stacked.values():
            if not one.folder.is_complete():
                stacks.setdefault(stack_key(one.config), []).append(one)
        for group in stacks.values():
            train_stack(group, dataset, root, "resident", tag, torch.device(device), on_event)
        return [_finished(stacked[name].folder) for name in names]


def _finished(folder: RunFolder) -> Run:
    if damage := folder.damage():
        raise LmcError(damage)
    end, metrics = PairEnd.of(folder), tuple(folder.metrics())
    return Run(end.config, end.fingerprint, end.weights(end.config.epochs).tensors(), metrics, end.status)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch at one thread, and give it back its own number."""
    threads = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
