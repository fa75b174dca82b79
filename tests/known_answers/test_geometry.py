"""Paths whose curve is known beforehand: by convexity, symmetry, scaling or permutation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import final_weights, run_config, tiny_dataset, train
from torch import Tensor

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.path import path_curves
from lmc_repro.config.run import MlpConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.registry import build_model

Weights = dict[str, Tensor]


def seeded(dataset: Dataset, seed: int, **config: object) -> tuple[object, Weights]:
    model = build_model(MlpConfig.model_validate({"kind": "mlp", **config}), dataset.info)
    return model, model.init(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("model", [{"depth": 1}, {"depth": 3, "width": 7, "slope": 0.0}], ids=["1", "3"])
def test_a_run_with_itself_has_barriers_of_exactly_zero(model: dict[str, Any], tmp_path: Path) -> None:
    dataset = tiny_dataset()
    config = run_config(model=model)
    (folder,) = train([config], dataset, tmp_path)
    curves = path_curves(build_model(config.model, dataset.info), *[final_weights(folder)] * 2, dataset, 11)
    for split in SPLITS:
        found = dataclasses.asdict(barriers(curves, split, dataset.info.classes))
        assert found.pop("error_0") == found.pop("error_1") > 0
        assert set(found.values()) == {0.0}


def test_loss_of_one_layer_is_convex_on_every_path() -> None:
    dataset = tiny_dataset()
    for seed in range(5):
        model, theta_0 = seeded(dataset, seed, depth=1)
        _, theta_1 = seeded(dataset, seed + 100, depth=1)
        for scale in (1.0, 30.0):
            far = {name: scale * value for name, value in theta_1.items()}
            for curve in path_curves(model, theta_0, far, dataset, 11).values():
                first, last = curve.loss[0], curve.loss[-1]
                for alpha, loss in zip(curve.alphas, curve.loss, strict=True):
                    assert loss <= (1 - alpha) * first + alpha * last + 1e-6


def test_linear_network_against_its_negative(digits: Dataset) -> None:
    # Both layers change sign, so the product at alpha is (1 - 2 alpha)^2 times the endpoint's: equal predictions,
    # but for all-zero logits in the middle, a tie that the first class wins.
    model, theta = seeded(digits, 0, depth=2, width=16, bias=False)
    curves = path_curves(model, theta, {name: -value for name, value in theta.items()}, digits, 11)
    for split, part in (("train", digits.train), ("test", digits.test)):
        *before, middle, _, _, _, _, last = (wrong := curves[split].wrong)
        assert set(before) == {last} and set(wrong[6:]) == {last}
        assert middle == int((part.labels != 0).sum()) != last


@pytest.mark.parametrize("c", [4.0, 0.3])
def test_rescaled_relu_network_keeps_its_error_on_the_whole_path(digits: Dataset, c: float) -> None:
    # ReLU is positively homogeneous: the path scales the hidden layer, then the logits, by positive numbers.
    model, theta = seeded(digits, 0, depth=2, width=16, slope=0.0)
    theta["layers.1.bias"] = torch.zeros(10)
    scaled = {
        "layers.0.weight": c * theta["layers.0.weight"],
        "layers.0.bias": c * theta["layers.0.bias"],
        "layers.1.weight": theta["layers.1.weight"] / c,
        "layers.1.bias": theta["layers.1.bias"],
    }
    for curve in path_curves(model, theta, scaled, digits, 11).values():
        assert len(set(curve.wrong)) == 1 and 0 < curve.wrong[0] < curve.n
        assert curve.loss[5] != pytest.approx(curve.loss[0], abs=1e-3)  # the network does change on the way


def permuted(theta: Weights, orders: list[Tensor]) -> Weights:
    """Return the same function with the units of each hidden layer in another order."""
    moved = dict(theta)
    for i, order in enumerate(orders):
        moved[f"layers.{i}.weight"] = moved[f"layers.{i}.weight"][order]
        moved[f"layers.{i}.bias"] = moved[f"layers.{i}.bias"][order]
        moved[f"layers.{i + 1}.weight"] = moved[f"layers.{i + 1}.weight"][:, order]
    return moved


@pytest.mark.parametrize(
    "depth, width", [*(pytest.param(2, width, marks=pytest.mark.slow) for width in (16, 32)), (4, 32)]
)
def test_permuted_hidden_units(depth: int, width: int, digits: Dataset, tmp_path: Path) -> None:
    config = run_config(
        data={"dataset": "digits"},
        model={"depth": depth, "width": width, "slope": 0.0},
        optimizer={"kind": "adam", "lr": 0.005, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        batch_size=62,
        epochs=30,
        evaluate_at=[30],
    )
    (folder,) = train([config], digits, tmp_path)
    theta = final_weights(folder)
    orders = [torch.arange(width).roll(width // 2 + i) for i in range(depth - 1)]
    model = build_model(config.model, digits.info)
    moved = permuted(theta, orders)
    curves = path_curves(model, theta, moved, digits, 11)
    for split in SPLITS:
        assert curves[split].wrong[0] == curves[split].wrong[-1] < 0.1 * curves[split].n
        assert barriers(curves, split, 10).barrier > 10.0
    back = permuted(moved, [order.argsort() for order in orders])
    curves = path_curves(model, theta, back, digits, 11)
    for split in SPLITS:
        found = barriers(curves, split, 10)
        assert found.barrier == found.line == found.loss_barrier == found.loss_line == 0.0
