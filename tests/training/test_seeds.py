"""The seeds are independent streams: each moves what it names, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers import final_weights, run_config, tiny_dataset, train, weights_at

from lmc_repro.data.order import epoch_order
from lmc_repro.training.trainer import order_sha256

SEEDS = [{"trainer": 0, "loader": 0}, {"trainer": 0, "loader": 1}, {"trainer": 1, "loader": 0}]


def statuses(root: Path) -> list[dict[str, Any]]:
    configs = [run_config(seeds=seeds) for seeds in SEEDS]
    return [folder.status() for folder in train(configs, tiny_dataset(), root)]


def test_each_seed_moves_its_own_stream(tmp_path: Path) -> None:
    base, loader, trainer = statuses(tmp_path)
    assert loader["init_sha256"] == base["init_sha256"] and loader["order_sha256"] != base["order_sha256"]
    assert trainer["init_sha256"] != base["init_sha256"] and trainer["order_sha256"] == base["order_sha256"]
    assert len({s["final_sha256"] for s in (base, loader, trainer)}) == 3
    assert len({s["fingerprint"] for s in (base, loader, trainer)}) == 3


def test_recorded_order_is_that_of_the_batches() -> None:
    config = run_config(seeds={"trainer": 5, "loader": 7})
    orders = [epoch_order(53, 7, epoch).astype("<u4") for epoch in range(config.epochs)]
    import hashlib

    assert order_sha256(53, config) == hashlib.sha256(np.concatenate(orders).tobytes()).hexdigest()


def test_initial_weights_are_those_of_the_trainer_seed(tmp_path: Path) -> None:
    (folder,) = train([run_config(seeds={"trainer": 12, "loader": 3})], tiny_dataset(), tmp_path)
    start = weights_at(folder, 0)
    generator = torch.Generator().manual_seed(12)
    first = torch.empty(9, 25).uniform_(-0.2, 0.2, generator=generator)  # 1 / sqrt(25)
    assert torch.equal(start["layers.0.weight"], first)
    assert not torch.equal(start["layers.0.weight"], final_weights(folder)["layers.0.weight"])


def test_no_global_generator_is_read_or_moved(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        runs.append(statuses(tmp_path / str(seed)))
        assert torch.equal(before[0], torch.get_rng_state())
        assert np.array_equal(before[1], np.random.get_state()[1])
    assert runs[0] == runs[1]


def test_rate_zero_leaves_the_initial_weights(tmp_path: Path) -> None:
    for optimizer in ({"kind": "sgd", "momentum": 0.9}, {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}):
        (folder,) = train([run_config(optimizer={**optimizer, "lr": 0.0})], tiny_dataset(), tmp_path)
        status = folder.status()
        assert status["final_sha256"] == status["init_sha256"] == status["checkpoints"]["1"]
        assert status["diverged_epoch"] is None
