"""What many tests need: tiny data, configs with one thing changed, runs trained into a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.base import epoch_text, parse_epoch
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.config.run import RunConfig, Seeds
from lmc_repro.data.dataset import Dataset, Split, data_digest
from lmc_repro.data.readers import read_arrays
from lmc_repro.training.checkpoint import read_checkpoint
from lmc_repro.training.fingerprint import data_identity, run_fingerprint
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Callback, Event, StackedRun, train_stack

PARAMS = Path(__file__).parent.parent / "params.yaml"
EXAMPLE = Path(__file__).parent / "example_params.yaml"

SGD: dict[str, Any] = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}
ADAM: dict[str, Any] = {"kind": "adam", "lr": 0.005, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
ADAMW: dict[str, Any] = {**ADAM, "kind": "adamw", "weight_decay": 0.03}
MUON: dict[str, Any] = {**ADAMW, "kind": "muon", "lr": 0.02, "momentum": 0.95, "adam_share": 0.2}
SAM: dict[str, Any] = {"kind": "sam", "lr": 0.01, "rho": 0.05, "momentum": 0.9, "weight_decay": 0.01}


def read_digits() -> Dataset:
    """Return scikit-learn's digits in two halves, without prepared files."""
    info = dataset_info("digits")
    train, test = read_arrays(info, Path("unused"))
    return Dataset(info, train, test, data_digest(train, test))


def tiny_dataset(
    n_train: int = 53, n_test: int = 17, shape: tuple[int, int, int] = (1, 5, 5), classes: int = 4, seed: int = 0
) -> Dataset:
    """Return classes of bright bars in noise: mostly learnt in a few steps, the same on every machine."""
    random = np.random.Philox(seed)
    splits = []
    for n in (n_train, n_test):
        labels = torch.arange(n) % classes
        words = torch.from_numpy((random.random_raw(n * int(np.prod(shape))) >> 57).astype(np.uint8))  # 0..127
        images = words.view(n, *shape).clone()
        for image, label in zip(images, labels, strict=True):
            image[:, int(label) % shape[1], :] += 40
        splits.append(Split(images, labels))
    info = DatasetInfo(
        name="tiny",
        title="Tiny",
        shape=shape,
        classes=classes,
        n_train=n_train,
        n_test=n_test,
        scale_max=255,
        mean=(0.3,) * shape[0],
        std=(0.25,) * shape[0],
        source="made here",
        split="made here",
        normalisation="made here",
        format="idx",
    )
    return Dataset(info, splits[0], splits[1], data_digest(splits[0], splits[1]))


def children(*loader_seeds: int) -> list[Seeds]:
    """Return the seeds of a stack whose children differ in their order only."""
    return [Seeds(trainer=0, loader=loader) for loader in loader_seeds]


def run_config(**changes: Any) -> RunConfig:
    """Return a small config with top-level fields replaced; `optimizer`, `data`, `seeds` may be given in part."""
    values: dict[str, Any] = {
        "data": {"dataset": "tiny"},
        "model": {"kind": "mlp", "depth": 2, "width": 9, "slope": 0.0},
        "optimizer": SGD,
        "batch_size": 10,
        "epochs": 3,
        "evaluate_at": [0, 1, 3],
        "seeds": {"trainer": 0, "loader": 0},
    }
    for key, value in changes.items():
        if key == "model":
            value = {"kind": "mlp", **value}  # replaced, not mended: what fits one depth does not fit another
        elif isinstance(value, dict) and key in values and "kind" not in value:
            value = values[key] | value
        values[key] = value
    return RunConfig.model_validate(values)


def folder_for(config: RunConfig, dataset: Dataset, root: Path) -> RunFolder:
    """Return the run's folder below `root`."""
    return RunFolder(root / run_fingerprint(config, data_identity(dataset.info, dataset.digest), numerics_tag()))


def train(
    configs: Sequence[RunConfig],
    dataset: Dataset,
    root: Path,
    on_event: Callable[[Event], None] = lambda event: None,
    callbacks: Sequence[Callback] = (),
) -> list[RunFolder]:
    """Train the configs as one stack on the CPU, from resident data, and return their folders."""
    children = [StackedRun(config, folder_for(config, dataset, root)) for config in configs]
    train_stack(children, dataset, root, "resident", numerics_tag(), torch.device("cpu"), on_event, callbacks)
    return [child.folder for child in children]


def final_weights(folder: RunFolder) -> dict[str, Tensor]:
    """Return the weights of a complete run's last epoch."""
    return weights_at(folder, max(parse_epoch(epoch) for epoch in folder.status()["checkpoints"]))


def weights_at(folder: RunFolder, epoch: float) -> dict[str, Tensor]:
    """Return the weights of a complete run at an epoch."""
    return read_checkpoint(folder.checkpoint(epoch), folder.status()["checkpoints"][epoch_text(epoch)], folder.fix)


def contents(folder: RunFolder | Path) -> dict[str, bytes]:
    """Return every file below a folder, by name."""
    root = folder.path if isinstance(folder, RunFolder) else folder
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
