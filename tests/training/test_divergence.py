"""A run whose numbers leave the finite ones is recorded, not crashed on, and its mates do not notice."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers import contents, run_config, tiny_dataset, train, weights_at

from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import evaluate


def test_diverged_child_and_its_mates(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    calm = [run_config(seeds={"trainer": i, "loader": i}) for i in range(2)]
    wild = run_config(optimizer={"kind": "sgd", "lr": 1e6, "momentum": 0.9}, seeds={"trainer": 9, "loader": 9})
    first, diverged, second = train([calm[0], wild, calm[1]], dataset, tmp_path / "together")
    assert diverged.is_complete() and diverged.status()["diverged_epoch"] == 1
    assert "null" not in diverged.status_file.read_text() and "NaN" not in diverged.status_file.read_text()
    for row in diverged.metrics():
        if row.epoch == 0:
            assert row.loss is not None and row.wrong is not None and row.wrong < row.n
        else:
            assert row.loss is None  # the mean of an epoch with such a batch, and every evaluation after
            assert row.split == "batch" or row.wrong == row.n
    lines = (diverged.path / "metrics.csv").read_text().splitlines()
    assert lines[-1] == "3,test,17,17,"
    for folder, alone in zip((first, second), train(calm, dataset, tmp_path / "alone"), strict=True):
        assert contents(folder) == contents(alone)
        assert folder.status()["diverged_epoch"] is None


def test_a_rate_that_is_only_high_does_not_diverge(tmp_path: Path) -> None:
    (folder,) = train(
        [run_config(model={"depth": 1}, optimizer={"kind": "sgd", "lr": 50.0, "momentum": 0.0})],
        tiny_dataset(),
        tmp_path,
    )
    assert folder.status()["diverged_epoch"] is None
    assert all(row.loss is not None for row in folder.metrics())


def test_logits_that_are_not_finite_count_as_wrong(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    config = run_config()
    (folder,) = train([config], dataset, tmp_path)
    model = build_model(config.model, dataset.info)
    good = weights_at(folder, 3)
    for value in (float("nan"), float("inf")):
        bad = {name: tensor.clone() for name, tensor in good.items()}
        bad["layers.1.bias"][2] = value  # one class of four
        stacked = {name: torch.stack([good[name], bad[name]]) for name in good}
        fine, broken = evaluate(model, stacked, dataset.train, dataset.info)
        assert fine.wrong < 20 and fine.loss is not None
        assert broken.wrong == broken.n == 53 and broken.loss is None
