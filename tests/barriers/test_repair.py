"""REPAIR: hidden units of inner points have the moments between those of the ends, and the ends their own bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset
from torch import Tensor

from lmc_repro.barriers.methods import PathMethods
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.repair import repair
from lmc_repro.common.errors import LmcError
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.base import Model, Weights
from lmc_repro.models.registry import build_model

MODELS: dict[str, dict[str, Any]] = {
    "2 layers": {"depth": 2, "width": 12, "slope": 0.0},
    "5 layers": {"depth": 5, "width": 12, "slope": 0.1},
    "conv": {"kind": "conv", "filters": 9, "kernel": 2},
    "local": {"kind": "local", "filters": 6, "kernel": 2},
    "local, tied": {"kind": "local", "filters": 6, "kernel": 2, "bias": "filter"},
}
LAB = Path(__file__).parents[2] / "examples" / "lab" / "networks.py"


def lab(function: str, **options: Any) -> dict[str, Any]:
    return {"kind": "module", "module": f"{LAB}:{function}", "options": options}


MODELS["VGG-11"] = lab("vgg11", width=4)


def network(config: dict[str, Any]) -> tuple[Model, Dataset, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Return a network for images of 4 x 4 pixels, such images, and two ends drawn from N(0, 1)."""
    dataset = tiny_dataset(shape=(1, 4, 4))
    model = build_model(run_config(model=config).model, dataset.info)
    ends = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        ends.append({name: torch.randn(shape, generator=generator) for name, shape in model.shapes.items()})
    return model, dataset, (ends[0], ends[1])


def moments(model: Model, theta: Weights, dataset: Dataset) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and deviation of each unit over the training images."""
    inputs = normalise(dataset.train.images, dataset.info).unsqueeze(0)
    hidden = model.hidden({name: weight.unsqueeze(0) for name, weight in theta.items()}, inputs)
    return {name: (x[0].double().mean(0), x[0].double().std(0, correction=0)) for name, x in hidden.items()}


@pytest.mark.parametrize("alpha", [0.25, 0.5])
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_units_of_an_inner_point_have_the_moments_between_those_of_the_ends(
    config: dict[str, Any], alpha: float
) -> None:
    model, dataset, ends = network(config)
    point = {name: torch.lerp(ends[0][name], ends[1][name], alpha) for name in ends[0]}
    (first, second), plain = (moments(model, end, dataset) for end in ends), moments(model, point, dataset)
    found = moments(model, repair(model, ends, dataset)(point), dataset)
    for name in first:
        for i in range(2):
            wanted = (1 - alpha) * first[name][i] + alpha * second[name][i]
            torch.testing.assert_close(found[name][i], wanted, rtol=1e-4, atol=1e-3)
        assert not torch.allclose(plain[name][1], wanted, rtol=1e-2, atol=1e-2)  # there was something to repair


def test_a_unit_by_hand() -> None:
    """One pixel x of variance v and mean m, one unit: w x + b goes to the moments half-way, exactly."""
    dataset = tiny_dataset(shape=(1, 1, 1))
    model = build_model(run_config(model={"depth": 2, "width": 1, "slope": 0.0}).model, dataset.info)
    ends = tuple({name: torch.zeros(shape) for name, shape in model.shapes.items()} for _ in range(2))
    for end, (weight, bias) in zip(ends, [(3.0, 0.0), (-1.0, 4.0)], strict=True):
        end["layers.0.weight"].fill_(weight)
        end["layers.0.bias"].fill_(bias)
    point = {name: (ends[0][name] + ends[1][name]) / 2 for name in ends[0]}  # x + 2
    found = repair(model, (ends[0], ends[1]), dataset)(point)
    # |3| and |-1| deviations of x: 2; means 3 m and 4 - m: m + 2
    assert found["layers.0.weight"].item() == pytest.approx(2.0, rel=1e-5)
    mean = normalise(dataset.train.images, dataset.info).mean().item()
    assert found["layers.0.bias"].item() == pytest.approx(mean + 2 - 2 * mean, rel=1e-4)


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_the_ends_keep_their_bits_and_equal_ends_are_left_alone(config: dict[str, Any]) -> None:
    model, dataset, ends = network(config)
    plain = path_curves(model, *ends, dataset, 5)
    found = path_curves(model, *ends, dataset, 5, methods=PathMethods(repair=repair))
    for split, curve in found.items():
        assert [curve.wrong[i] for i in (0, -1)] == [plain[split].wrong[i] for i in (0, -1)]
        assert [curve.loss[i] for i in (0, -1)] == [plain[split].loss[i] for i in (0, -1)]
        assert curve.loss[1:-1] != plain[split].loss[1:-1]
    same = repair(model, (ends[0], ends[0]), dataset)(ends[0])
    assert all(torch.equal(same[name], ends[0][name]) for name in same)


@pytest.mark.parametrize("function", ["resnet20", "vgg11"])
def test_where_batch_norm_is_estimated_anew_nothing_is_left_to_do(function: str) -> None:
    model, dataset, ends = network(lab(function, width=4, norm="batch"))
    found = repair(model, ends, dataset)(ends[0])
    assert all(torch.equal(found[name], weight) for name, weight in ends[0].items())


@pytest.mark.parametrize(
    "config",
    [
        {"depth": 2, "width": 3, "bias": False},
        {"kind": "attention", "patch": 2, "heads": 2, "head_dim": 3},
        lab("resnet20", width=4, norm="layer"),
        lab("vit", patch=2, width=6, depth=1, heads=2),
    ],
)
def test_a_network_without_biases_or_with_norms_is_refused(config: dict[str, Any]) -> None:
    model, dataset, ends = network(config)
    with pytest.raises(LmcError):
        repair(model, ends, dataset)
