"""Guarantees that only a GPU can break: graphs, stacks, resumed runs, products of fewer bits, memory, counts.

LMC_TEST_DEVICE=cpu runs on a CPU those that need no graph and no GPU memory, so that they are known to run.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ADAM, contents, folder_for, run_config, tiny_dataset

from lmc_repro.barriers.path import path_curves
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.run import RunConfig
from lmc_repro.engine import task as task_module
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.models.registry import build_model
from lmc_repro.training import trainer
from lmc_repro.training.checkpoint import read_checkpoint
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.steps import DeviceSteps
from lmc_repro.training.trainer import Event, StackedRun, train_stack

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as workers have it, before the library is loaded
DEVICE = torch.device(os.environ.get("LMC_TEST_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"
TAG = numerics_tag(DEVICE.type) if not ON_GPU or torch.cuda.is_available() else ""
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="torch sees no GPU"),
]
needs_gpu = pytest.mark.skipif(not ON_GPU, reason="a CPU has neither graphs nor memory of a GPU")

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 3, "width": 16, "slope": 0.0},
    "local": {"kind": "local", "filters": 2, "kernel": 5},
    "conv": {"kind": "conv", "filters": 2, "kernel": 5},
    "attention": {"kind": "attention", "patch": 5, "heads": 2, "head_dim": 4},
}
CHANGES: dict[str, dict[str, Any]] = {
    **{name: {"model": model} for name, model in NETWORKS.items()},
    "adam": {"optimizer": {**ADAM, "weight_decay": 0.01}},
    "augmented": {"data": {"augment": {"flip": True, "crop": 1, "cutout": 2}}, "seeds": {"augmentation": 3}},
    "clipped": {"clip": {"norm": 0.4}},
    "cosine": {"schedule": {"kind": "cosine", "warmup_epochs": 1}},
    "drop last": {"data": {"drop_last": True}},
}


def train_here(configs: list[RunConfig], root: Path, on_event: Any = lambda event: None) -> list[RunFolder]:
    """Train one stack on the device and return its folders."""
    dataset = tiny_dataset()
    children = [StackedRun(config, folder_for(config, dataset, root)) for config in configs]
    train_stack(children, dataset, root, "resident", TAG, DEVICE, on_event)
    return [child.folder for child in children]


def final(folder: RunFolder) -> dict[str, torch.Tensor]:
    """Return the weights after the last epoch."""
    return read_checkpoint(folder.checkpoint(3), folder.status()["checkpoints"]["3"], folder.fix)


def stack_of(children: int, **changes: Any) -> list[RunConfig]:
    """Return runs that differ in their loader seed."""
    seeds = changes.pop("seeds", {})
    return [run_config(**changes, seeds={**seeds, "loader": loader}) for loader in range(children)]


@needs_gpu
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_graphs_leave_the_bits_of_eager_steps(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [contents(folder) for folder in train_here(stack_of(3, **change), tmp_path / "graphs")]
    monkeypatch.setattr(
        trainer, "open_steps", lambda step, configs, dataset, prepared, loader: DeviceSteps(step, configs, dataset)
    )
    assert [contents(folder) for folder in train_here(stack_of(3, **change), tmp_path / "eager")] == graphs


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_equal_stacks_leave_equal_bits_and_an_interrupted_one_too(change: dict[str, Any], tmp_path: Path) -> None:
    expected = [contents(folder) for folder in train_here(stack_of(3, **change), tmp_path / "one")]

    def stop(event: Event) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_here(stack_of(3, **change), tmp_path / "two", stop)
    found = [contents(folder) for folder in train_here(stack_of(3, **change), tmp_path / "two")]
    if ON_GPU:  # status.json lists the sizes of the stacks, of both parts
        for files in (*expected, *found):
            files.pop("status.json")
    assert found == expected


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_device_trains_what_a_cpu_trains(change: dict[str, Any], tmp_path: Path) -> None:
    """Other bits, the same network: weights agree to 1e-3 after 18 steps."""
    (config,) = stack_of(1, **change)
    (here,) = train_here([config], tmp_path / "here")
    dataset = tiny_dataset()
    child = StackedRun(config, folder_for(config, dataset, tmp_path / "cpu"))
    train_stack([child], dataset, tmp_path, "resident", numerics_tag("cpu"), torch.device("cpu"))
    for name, weight in final(child.folder).items():
        assert torch.allclose(final(here)[name], weight, atol=1e-3), name


def test_a_run_trains_alone_as_in_a_stack(tmp_path: Path) -> None:
    configs = stack_of(5)
    together = train_here(configs, tmp_path / "stack")
    for config, folder in zip(configs, together, strict=True):
        (alone,) = train_here([config], tmp_path / f"alone{config.seeds.loader}")
        for name, weight in final(alone).items():
            assert torch.allclose(final(folder)[name], weight, atol=1e-4), name


@needs_gpu
@pytest.mark.parametrize(("precision", "most"), [("tf32", 2e-2), ("bf16", 2e-1)])
def test_products_of_fewer_bits_are_used_and_near(precision: str, most: float, tmp_path: Path) -> None:
    (plain,), (rough,) = (train_here(stack_of(1, **c), tmp_path) for c in ({}, {"precision": precision}))
    apart = max((final(rough)[name] - weight).abs().max().item() for name, weight in final(plain).items())
    assert 0 < apart < most


@needs_gpu
def test_a_stack_beyond_the_memory_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process gets memory for a few of eight networks of 17 million weights."""
    dataset = tiny_dataset()
    monkeypatch.setattr(task_module, "load_dataset", lambda prepared, name: dataset)
    wide = {"model": {"kind": "mlp", "depth": 3, "width": 4096}, "epochs": 1, "evaluate_at": [1]}
    configs = stack_of(8, **wide)
    runs = tuple((folder_for(config, dataset, tmp_path).fingerprint, config) for config in configs)
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.5 * 2**30 / total)
    try:
        train_task(StackTask(runs, tmp_path, tmp_path, "resident", TAG, "cuda", 0.0), lambda event: None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.set_deterministic_debug_mode("default")
    sizes = [RunFolder(tmp_path / fingerprint).status()["stack"][0] for fingerprint, _ in runs]
    assert max(sizes) < 8 and all(RunFolder(tmp_path / fingerprint).is_complete() for fingerprint, _ in runs)


@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
def test_the_curve_of_a_pair_is_that_of_a_cpu(model: dict[str, Any], tmp_path: Path) -> None:
    dataset = tiny_dataset(n_train=500, n_test=200)
    ends = [final(folder) for folder in train_here(stack_of(2, model=model), tmp_path)]
    network = build_model(run_config(model=model).model, dataset.info)
    here = path_curves(network, *ends, dataset.to(DEVICE), 11, DEVICE)
    there = path_curves(network, *ends, dataset, 11, torch.device("cpu"))
    for split, curve in there.items():
        assert max(abs(a - b) for a, b in zip(here[split].wrong, curve.wrong, strict=True)) <= 1
        assert here[split].loss == pytest.approx(curve.loss, rel=1e-4)
