"""The N-layer network: shapes, the three initialisations, and the function that it computes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.run import MlpConfig
from lmc_repro.models.base import count_parameters
from lmc_repro.models.mlp import Mlp
from lmc_repro.models.registry import build_model


def config(depth: int, width: int | None = None, **more: object) -> MlpConfig:
    return MlpConfig.model_validate({"kind": "mlp", "depth": depth, "width": width, **more})


def test_shapes_and_counts() -> None:
    info = dataset_info("mnist")
    assert count_parameters(build_model(config(1), info)) == 784 * 10 + 10
    two = build_model(config(2, 512, slope=0.0), info)
    assert count_parameters(two) == 784 * 512 + 512 + 512 * 10 + 10
    assert count_parameters(build_model(config(2, 512, bias=False), info)) == 784 * 512 + 512 * 10
    four = build_model(config(4, 7), info)
    assert [s for name, s in four.shapes.items() if "weight" in name] == [(7, 784), (7, 7), (7, 7), (10, 7)]
    assert two.forward_flops() == (2 * 784 * 512, 2 * 512 * 10)


def test_torch_default_is_that_of_nn_linear() -> None:
    ours = Mlp(config(2, 400), 900, 10).init(torch.Generator().manual_seed(0))
    theirs = nn.Linear(900, 400)
    for name in ("weight", "bias"):
        found, expected = ours[f"layers.0.{name}"], getattr(theirs, name).detach()
        assert found.shape == expected.shape
        assert found.abs().max() <= 1 / 30 and expected.abs().max() <= 1 / 30 + 1e-8
        assert float(found.std()) == pytest.approx(1 / 30 / math.sqrt(3), rel=0.1)
        assert float(found.std()) == pytest.approx(float(expected.std()), rel=0.15)
    assert ours["layers.0.weight"].abs().max() > 0.999 / 30


@pytest.mark.parametrize(
    "slope, gain, factor", [(0.0, "slope", 2.0), (1.0, "slope", 1.0), (0.5, "slope", 1.6), (1.0, "sqrt2", 2.0)]
)
def test_kaiming_normal(slope: float, gain: str, factor: float) -> None:
    model = Mlp(config(2, 500, slope=slope, init="kaiming-normal", gain=gain), 800, 10)
    weights = model.init(torch.Generator().manual_seed(0))
    assert float(weights["layers.0.weight"].std()) == pytest.approx(math.sqrt(factor / 800), rel=0.01)
    assert float(weights["layers.1.weight"].std()) == pytest.approx(math.sqrt(factor / 500), rel=0.05)
    assert weights["layers.0.weight"].abs().max() > 3 * math.sqrt(factor / 800)  # not uniform
    assert not weights["layers.0.bias"].any() and not weights["layers.1.bias"].any()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth, slope", [(1, 1.0), (2, 0.0), (3, 0.3), (4, 1.0)])
def test_forward_is_that_of_a_module(depth: int, slope: float, bias: bool) -> None:
    model = Mlp(config(depth, 6 if depth > 1 else None, slope=slope, bias=bias), 12, 5)
    children = [model.init(torch.Generator().manual_seed(i)) for i in range(3)]
    inputs = torch.randn(3, 7, 1, 3, 4, generator=torch.Generator().manual_seed(9))
    logits = model.forward({name: torch.stack([c[name] for c in children]) for name in model.shapes}, inputs)
    assert logits.shape == (3, 7, 5)
    for i, child in enumerate(children):
        x = inputs[i].flatten(1)
        for k in range(depth):
            x = nn.functional.linear(x, child[f"layers.{k}.weight"], child.get(f"layers.{k}.bias"))
            if k < depth - 1:
                x = torch.where(x >= 0, x, slope * x)
        torch.testing.assert_close(logits[i], x, rtol=1e-5, atol=1e-6)


def test_slope_one_is_linear_and_zero_is_not() -> None:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 1, 4, 1, 3, 4, generator=generator)
    for slope, linear in ((1.0, True), (0.0, False)):
        model = Mlp(config(3, 9, slope=slope, bias=False), 12, 5)
        weights = {name: w.unsqueeze(0) for name, w in model.init(torch.Generator().manual_seed(0)).items()}
        sum_of = model.forward(weights, a) + model.forward(weights, b)
        assert torch.allclose(model.forward(weights, a + b), sum_of, atol=1e-5) is linear
