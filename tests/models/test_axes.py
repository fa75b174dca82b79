"""Axes: permuting a group of units at all its places leaves every network's function as it is."""

from __future__ import annotations

import pytest
import torch
from helpers import run_config, tiny_dataset

from lmc_repro.barriers.alignment import is_permutation, permuted, units
from lmc_repro.data.dataset import normalise
from lmc_repro.models.registry import build_model

ATTENTION = {"kind": "attention", "patch": 2, "heads": 2, "head_dim": 3}
LOCAL = {"kind": "local", "filters": 3, "kernel": 2}
CASES = [
    ({"depth": 3, "width": 5, "slope": 0.0}, {"layers.0": 5, "layers.1": 5}),
    ({"depth": 2, "width": 5, "slope": 0.1, "bias": False}, {"layers.0": 5}),
    ({"depth": 1}, {}),
    ({"kind": "conv", "filters": 3, "kernel": 2}, {"filters": 3}),
    (LOCAL, {f"filters.{p}": 3 for p in range(4)}),
    ({**LOCAL, "bias": "filter"}, {"filters": 3}),
    (ATTENTION, {"embedding": 6, "projection": 6, "heads": 2, "keys.0": 3, "values.0": 3, "keys.1": 3, "values.1": 3}),
]


@pytest.mark.parametrize(("model_config", "expected"), CASES)
def test_a_group_permuted_at_all_its_places_is_the_same_function(
    model_config: dict[str, object], expected: dict[str, int]
) -> None:
    dataset = tiny_dataset(shape=(1, 4, 4))
    model = build_model(run_config(model=model_config).model, dataset.info)
    axes = model.axes()
    assert {name: units(axes, name) for name in axes} == expected
    generator = torch.Generator().manual_seed(1)
    theta = {name: torch.randn(weight.shape, generator=generator) for name, weight in model.init(generator).items()}
    inputs = normalise(dataset.train.images[:20], dataset.info).unsqueeze(0)
    before = model.forward({name: weight.unsqueeze(0) for name, weight in theta.items()}, inputs)
    for name, size in expected.items():
        order = torch.arange(size).roll(1)
        moved = permuted(theta, axes, {name: order})
        changed = {weight for weight in theta if not torch.equal(moved[weight], theta[weight])}
        assert changed == {place.weight for place in axes[name]}
        after = model.forward({weight: tensor.unsqueeze(0) for weight, tensor in moved.items()}, inputs)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
        back = permuted(moved, axes, {name: order.argsort()})
        assert all(torch.equal(back[weight], theta[weight]) for weight in theta)
        # and a place left out is another function
        part = permuted(theta, {name: axes[name][:-1]}, {name: order})
        other = model.forward({weight: tensor.unsqueeze(0) for weight, tensor in part.items()}, inputs)
        assert not torch.allclose(other, before, rtol=1e-2, atol=1e-2)


def test_a_permutation_is_recognised() -> None:
    assert is_permutation(torch.tensor([2, 0, 1]))
    assert not is_permutation(torch.tensor([0, 0, 1]))
    assert not is_permutation(torch.tensor([1, 2, 3]))
