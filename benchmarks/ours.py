"""This project's training of a stack, without evaluations and files: what `training.trainer` does in an epoch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lmc_repro.common.numerics import use_one_thread
from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine.local import WORKER_ENVIRONMENT
from lmc_repro.models.registry import build_model
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep
from lmc_repro.training.steps import open_steps


def run_config(dataset: str, model: dict[str, Any], batch: int, seed: int = 0) -> RunConfig:
    """Return a long run with SGD and momentum, its three seeds one number."""
    return RunConfig.model_validate(
        {
            "data": {"dataset": dataset},
            "model": model,
            "optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.9},
            "batch_size": batch,
            "epochs": 1000,
            "evaluate_at": [1000],
            "seeds": {"trainer": seed, "loader": seed},
        }
    )


def as_a_worker() -> None:
    """Set this process as each of our worker processes is."""
    use_one_thread()
    mallopt = ctypes.CDLL(None).mallopt  # too late for the variables that workers have
    mallopt(-3, int(WORKER_ENVIRONMENT["MALLOC_MMAP_THRESHOLD_"]))  # M_MMAP_THRESHOLD of malloc.h
    mallopt(-1, int(WORKER_ENVIRONMENT["MALLOC_TRIM_THRESHOLD_"]))  # M_TRIM_THRESHOLD


def epochs(
    stacks: Sequence[Sequence[RunConfig]],
    dataset: Dataset,
    prepared: Path,
    loader: LoaderKind = "resident",
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Callable[[], None]:
    """Return the work of an epoch of every stack, one after another; the next call does the next epoch."""
    as_a_worker()
    made = []
    for configs in stacks:
        model = build_model(configs[0].model, dataset.info)
        layout = Layout(model)
        weights = layout.stack([model.init(torch.Generator().manual_seed(c.seeds.trainer)) for c in configs]).to(device)
        step = TrainStep(
            model, layout, weights, build_optimizer(configs[0].optimizer, weights), None, configs[0].precision
        )
        made.append(open_steps(step, configs, dataset, prepared, loader))
    done = 0

    def work() -> None:
        nonlocal done
        for steps in made:
            for _ in steps.epoch(done):
                pass
            steps.batch_losses()
        done += 1

    return work
