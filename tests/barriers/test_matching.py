"""Weight and activation matching: permutations that are known beforehand, and what no matching may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import run_config, tiny_dataset
from torch import Tensor

from lmc_repro.barriers.alignment import Alignment, Permuted, is_permutation, permuted, units
from lmc_repro.barriers.barrier import curve_barriers
from lmc_repro.barriers.matching import (
    Orders,
    activation_matching,
    match_activations,
    match_weights,
    weight_matching,
)
from lmc_repro.barriers.methods import PathMethods, path_methods, require_units
from lmc_repro.barriers.path import path_curves
from lmc_repro.common.errors import LmcError
from lmc_repro.config.path import PathConfig
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.base import Model, Weights
from lmc_repro.models.registry import build_model

MODELS: dict[str, dict[str, Any]] = {
    "2 layers": {"depth": 2, "width": 12, "slope": 0.0},
    "5 layers": {"depth": 5, "width": 12, "slope": 0.0},
    "no bias": {"depth": 3, "width": 12, "slope": 0.0, "bias": False},
    "conv": {"kind": "conv", "filters": 9, "kernel": 2},
    "local": {"kind": "local", "filters": 6, "kernel": 2},
    "local, tied": {"kind": "local", "filters": 6, "kernel": 2, "bias": "filter"},
    "attention": {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 5},
}
LAB = Path(__file__).parents[2] / "examples" / "lab" / "networks.py"
MODELS |= {
    name: {"kind": "module", "module": f"{LAB}:{function}", "options": options}
    for name, function, options in (
        ("ResNet-20, BatchNorm", "resnet20", {"width": 4}),
        ("ResNet-20, LayerNorm", "resnet20", {"width": 4, "norm": "layer"}),
        ("VGG-11", "vgg11", {"width": 4}),
        ("VGG-11, BatchNorm", "vgg11", {"width": 4, "norm": "batch"}),
        ("ViT", "vit", {"patch": 2, "width": 12, "depth": 2, "heads": 3}),
    )
}

MODELS["written down"] = {
    "kind": "module",
    "module": f"{LAB.parents[1] / 'extending' / 'two_paths.py'}:build",
}

SLOW = ("ResNet-20, BatchNorm", "ResNet-20, LayerNorm", "VGG-11, BatchNorm", "ViT")
CONFIGS = [
    pytest.param(config, id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name, config in MODELS.items()
]


def network(config: dict[str, Any]) -> tuple[Model, Dataset]:
    """Return a network for images of 4 x 4 pixels, and such images."""
    dataset = tiny_dataset(shape=(1, 4, 4))
    return build_model(run_config(model=config).model, dataset.info), dataset


def drawn(model: Model, seed: int) -> dict[str, Tensor]:
    """Return weights from N(0, 1): no two units are alike."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in model.shapes.items()}


def shuffled(model: Model, seed: int) -> Orders:
    """Return a random permutation of every group."""
    axes, generator = model.axes(), torch.Generator().manual_seed(seed)
    return {name: torch.randperm(units(axes, name), generator=generator) for name in axes}


def distance(a: Weights, b: Weights) -> float:
    return sum(float((a[name] - b[name]).double().square().sum()) for name in a) ** 0.5


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("align", [weight_matching, activation_matching])
def test_a_networks_own_permutation_is_undone_to_the_bit(align: Alignment, config: dict[str, Any], seed: int) -> None:
    model, dataset = network(config)
    theta = drawn(model, seed)
    orders = shuffled(model, seed)
    moved = permuted(theta, model.axes(), orders)
    assert not all(torch.equal(moved[name], theta[name]) for name in theta)
    found = align(model, theta, moved, dataset, seed)
    assert all(torch.equal(found[name], theta[name]) for name in theta)
    assert isinstance(found, Permuted) and found.permutations.keys() == orders.keys()
    for name, order in found.permutations.items():  # index for index; what is inside of heads has moved with them
        if not name.startswith(("keys", "values")) and "[" not in name:
            assert torch.equal(orders[name][order], torch.arange(len(order)))
    curve = path_curves(model, theta, dict(found), dataset, 3)["train"]
    assert len(set(curve.wrong)) == 1 and curve_barriers(curve).barrier == 0.0


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("align", [weight_matching, activation_matching])
def test_the_function_stays_and_the_second_time_has_the_same_bits(align: Alignment, config: dict[str, Any]) -> None:
    model, dataset = network(config)
    theta_0, theta_1 = (model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found, again = (align(model, theta_0, theta_1, dataset, seed) for seed in (0, 1))
    assert any(not torch.equal(found[name], theta_1[name]) for name in theta_1)
    assert all(torch.equal(found[name], again[name]) for name in theta_1)
    inputs = normalise(dataset.train.images, dataset.info).unsqueeze(0)
    before, after = (model.forward({n: w.unsqueeze(0) for n, w in t.items()}, inputs)[0] for t in (theta_1, found))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    curves = [path_curves(model, dict(theta), dict(theta), dataset, 3) for theta in (theta_1, found)]
    for split in ("train", "test"):
        assert curves[0][split].wrong == curves[1][split].wrong


@pytest.mark.parametrize("config", CONFIGS)
def test_two_networks_come_nearer_by_permutations_alone(config: dict[str, Any]) -> None:
    model, dataset = network(config)
    for seed in range(4):
        theta_0, theta_1 = drawn(model, seed), drawn(model, seed + 100)
        orders = match_weights(model.axes(), theta_0, theta_1)
        assert all(is_permutation(order) for order in orders.values()) and orders.keys() == model.axes().keys()
        found = weight_matching(model, theta_0, theta_1, dataset, seed)
        assert distance(theta_0, found) < 0.99 * distance(theta_0, theta_1)
        assert all(torch.equal(found[n].flatten().sort().values, theta_1[n].flatten().sort().values) for n in found)
        # and no single exchange of two units comes nearer: the result is a local optimum
        for name, order in orders.items():
            if len(order) < 2:
                continue
            order = order.clone()
            order[[0, 1]] = order[[1, 0]]
            near = permuted(theta_1, model.axes(), orders | {name: order})
            assert distance(theta_0, near) > distance(theta_0, found) - 1e-6


def test_where_inner_layers_alone_are_alike_units_stay_with_them() -> None:
    """Of 3 layers the second is common and large: matched by the first, which is noise, it would be torn apart."""
    model, dataset = network({"depth": 3, "width": 12, "slope": 0.0})
    for seed in range(5):
        theta_0, theta_1 = drawn(model, seed), drawn(model, seed + 100)
        theta_0["layers.1.weight"] *= 3.0
        theta_1["layers.1.weight"] = theta_0["layers.1.weight"]
        found = weight_matching(model, theta_0, theta_1, dataset, seed)
        assert distance(theta_0, found) <= distance(theta_0, theta_1)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_weight_matching_never_raises_the_distance(config: dict[str, Any], share: float) -> None:
    """Of networks that are near each other, and whose layers differ by as much or not at all."""
    model, dataset = network(config)
    for seed in range(3):
        theta_0, other = drawn(model, seed), drawn(model, seed + 100)
        kept = {name for i, name in enumerate(theta_0) if (i // 2) % (seed + 2)}  # weights and their biases
        theta_1 = {n: torch.lerp(w, other[n], share if n in kept else 1.0) for n, w in theta_0.items()}
        found = weight_matching(model, theta_0, theta_1, dataset, seed)
        assert distance(theta_0, found) <= distance(theta_0, theta_1) * (1 + 1e-7)


@pytest.mark.parametrize("name", ["2 layers", "5 layers", "no bias", "conv", "local", "local, tied", "VGG-11"])
def test_units_moved_on_one_side_alone_are_refused(name: str) -> None:
    """Another function: for each group, where its units are put out, and where they are taken in."""
    model, dataset = network(MODELS[name])
    theta, axes = drawn(model, 0), model.axes()
    for name, places in axes.items():
        order = torch.arange(units(axes, name)).roll(1)
        for side in (places[:1], places[-1:]):

            def wrong(*given: Any, side: Any = side, name: str = name, order: Tensor = order) -> Weights:
                return permuted(given[2], {name: side}, {name: order})

            with pytest.raises(LmcError, match=" images are predicted differently"):
                PathMethods(align=wrong).aligned(model, theta, theta, dataset, 0)
        whole = PathMethods(align=lambda *given, n=name, o=order: permuted(given[2], axes, {n: o}))
        assert whole.aligned(model, theta, theta, dataset, 0)


@pytest.mark.parametrize("config", CONFIGS)
def test_equal_networks_stay_as_they_are_with_units_that_are_alike(config: dict[str, Any]) -> None:
    model, _ = network(config)
    theta = {name: torch.zeros_like(weight) for name, weight in drawn(model, 0).items()}  # any order would do
    for ends in (theta, drawn(model, 0)):
        for order in match_weights(model.axes(), ends, ends).values():
            assert torch.equal(order, torch.arange(len(order)))


def test_four_units_by_hand() -> None:
    """Scores [9 8 . .; 8 1 . .; . . 5 4; . . 6 1]: the largest entry of each pair is not part of the best sum."""
    model = build_model(
        run_config(model={"depth": 2, "width": 4, "slope": 0.0}).model, tiny_dataset(shape=(1, 2, 2)).info
    )
    theta_0, theta_1 = ({name: torch.zeros(shape) for name, shape in model.shapes.items()} for _ in range(2))
    theta_0["layers.0.weight"] = torch.tensor(
        [[9.0, 8.0, 0.0, 0.0], [8.0, 1.0, 0.0, 0.0], [0.0, 0.0, 5.0, 4.0], [0.0, 0.0, 6.0, 1.0]]
    )
    theta_1["layers.0.weight"] = torch.eye(4)
    assert match_weights(model.axes(), theta_0, theta_1)["layers.0"].tolist() == [1, 0, 3, 2]
    # and the biases and the next layer's columns count as much: 20 for the exchange of the last two
    theta_0["layers.0.bias"] = torch.tensor([0.0, 0.0, 4.0, 0.0])
    theta_1["layers.0.bias"] = torch.tensor([0.0, 0.0, 5.0, 0.0])
    assert match_weights(model.axes(), theta_0, theta_1)["layers.0"].tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("config", CONFIGS)
def test_matched_units_of_each_group_correlate_as_much_as_before_or_more(config: dict[str, Any]) -> None:
    """Correlations are numpy's, of all activations at once; near networks are matched from the start."""
    model, dataset = network(config)
    inputs = normalise(dataset.train.images, dataset.info).unsqueeze(0)

    def correlations(first: Weights, second: Weights) -> dict[str, float]:
        """Return the sum of each group; those of a head's units together, since heads move as a whole."""
        hidden = [model.hidden({n: w.unsqueeze(0) for n, w in end.items()}, inputs) for end in (first, second)]
        sums: dict[str, float] = {}
        for name, a in hidden[0].items():
            of_heads = "[" in name or name.startswith(("keys", "values"))
            each = [np.corrcoef(a[0, :, i], hidden[1][name][0, :, i])[0, 1] for i in range(a.shape[2])]
            sums["heads" if of_heads else name] = sums.get("heads" if of_heads else name, 0.0) + sum(each)
        return sums

    for seed in range(2):
        for share in (0.05, 1.0):
            theta_0, other = drawn(model, seed), drawn(model, seed + 100)
            theta_1 = {name: torch.lerp(weight, other[name], share) for name, weight in theta_0.items()}
            before = correlations(theta_0, theta_1)
            after = correlations(theta_0, activation_matching(model, theta_0, theta_1, dataset, 0))
            assert all(after[name] > before[name] - 1e-4 for name in before), (seed, share)
            assert share < 1 or sum(after.values()) > sum(before.values()) + 0.5
        for order in match_activations(model, theta_0, theta_0, dataset).values():
            assert torch.equal(order, torch.arange(len(order)))


def test_a_network_without_units_that_may_change_places_is_refused_before_any_training() -> None:
    model, _ = network({"depth": 1})
    require_units(PathConfig(repair="none", align="none"), model)
    for align in ("weights", "activations"):
        require_units(PathConfig(align=align), network(MODELS["2 layers"])[0])
        with pytest.raises(LmcError, match=f"^align {align}: no hidden units"):
            require_units(PathConfig(align=align), model)


def test_units_that_hardly_move_about_their_means_are_told_apart() -> None:
    """A mean of 1000 deviations: squares in float32 hold the mean alone."""
    model, dataset = network(MODELS["2 layers"])
    theta = drawn(model, 0)
    theta["layers.0.bias"] = 2e4 * (1.0 + torch.rand(12, generator=torch.Generator().manual_seed(0)))
    for order in (torch.arange(12), torch.arange(12).roll(1)):
        moved = permuted(theta, model.axes(), {"layers.0": order})
        found = activation_matching(model, theta, moved, dataset, 0)
        assert all(torch.equal(found[name], theta[name]) for name in theta)


def test_a_unit_that_is_constant_disturbs_nothing() -> None:
    model, dataset = network(MODELS["2 layers"])
    theta = drawn(model, 0)
    theta["layers.0.weight"][3] = 0.0
    moved = permuted(theta, model.axes(), {"layers.0": torch.arange(12).roll(1)})
    found = activation_matching(model, theta, moved, dataset, 0)
    assert all(torch.equal(found[name], theta[name]) for name in theta)


@pytest.mark.parametrize(
    "name", ["VGG-11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ResNet-20, BatchNorm", "ViT"))]
)
def test_metrics_of_layers_see_the_units_of_modules(name: str) -> None:
    """At an end the features of the interpolation are the interpolated features, and between the ends they are not."""
    model, dataset = network(MODELS[name])
    ends = [model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    methods = path_methods(PathConfig(metrics=("variance_ratio", "llfc")))
    columns = path_curves(model, ends[0], ends[1], dataset, 3, methods=methods)["train"].columns
    layers = {name.removeprefix("llfc_") for name in columns if name.startswith("llfc_")}
    assert len(layers) >= 5 and all(columns[f"llfc_{layer}"][::2] == pytest.approx((1.0, 1.0)) for layer in layers)
    assert any(abs(columns[f"llfc_{layer}"][1] - 1.0) > 0.1 for layer in layers)  # type: ignore[operator]


@pytest.mark.parametrize("config", CONFIGS)
def test_hidden_units_are_those_that_the_logits_come_from(config: dict[str, Any]) -> None:
    """The units of a group are permuted where the group is, and every group but one of others is there."""
    model, dataset = network(config)
    axes, theta = model.axes(), drawn(model, 0)
    inputs = normalise(dataset.train.images[:7], dataset.info).unsqueeze(0)
    before = model.hidden({n: w.unsqueeze(0) for n, w in theta.items()}, inputs)
    assert before.keys() == {name for name in axes if name != "heads" and not name.endswith(".groups")}
    for name, order in shuffled(model, 3).items():
        if name in before:
            moved = permuted(theta, axes, {name: order})
            after = model.hidden({n: w.unsqueeze(0) for n, w in moved.items()}, inputs)
            for group, values in before.items():
                expected = values[..., order] if group == name else values
                torch.testing.assert_close(after[group], expected, rtol=1e-4, atol=1e-4)
