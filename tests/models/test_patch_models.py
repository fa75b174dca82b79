"""Networks on patches: counted parameters, known answers worked out by hand, and the modules of plain torch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from known_answers.plain_networks import PlainAttention
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.config.run import AttentionConfig, ConvConfig, LocalConfig, ModelConfig
from lmc_repro.models.attention import Attention
from lmc_repro.models.base import Model, count_parameters
from lmc_repro.models.conv import Conv, patches
from lmc_repro.models.local import Local
from lmc_repro.models.registry import build_model

MNIST = dataset_info("mnist")
SHAPES = [((1, 6, 6), 2), ((3, 4, 6), 2), ((2, 3, 6), 3), ((3, 3, 3), 3), ((2, 2, 3), 1)]
CIFAR10 = replace(MNIST, name="cifar10", shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)


def small(channels: int, height: int, width: int, classes: int = 5) -> DatasetInfo:
    shape, means, stds = (channels, height, width), (0.5,) * channels, (0.25,) * channels
    return replace(MNIST, name="small", shape=shape, classes=classes, mean=means, std=stds)


def build(info: DatasetInfo, **values: Any) -> Model:
    config: ModelConfig = TypeAdapter(ModelConfig).validate_python(values)
    return build_model(config, info)


def drawn(model: Model, *seeds: int) -> dict[str, Tensor]:
    """Return the stacked weights of children whose norms, too, are no longer what they began as."""
    children = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        weights = model.init(generator)
        for name in weights:
            if "norm" in name:
                weights[name] = weights[name] + 0.3 * torch.randn(weights[name].shape, generator=generator)
        children.append(weights)
    return {name: torch.stack([child[name] for child in children]) for name in model.shapes}


def images(children: int, batch: int, info: DatasetInfo, seed: int = 9) -> Tensor:
    return torch.randn(children, batch, *info.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "info, values, count",
    [
        (CIFAR10, {"kind": "conv", "filters": 128, "kernel": 4}, 88_202),
        (CIFAR10, {"kind": "local", "filters": 128, "kernel": 4}, 483_338),
        (CIFAR10, {"kind": "local", "filters": 128, "kernel": 4, "bias": "filter"}, 475_274),
        (CIFAR10, {"kind": "mlp", "depth": 2, "width": 8192, "slope": 0.0}, 25_255_946),
        (CIFAR10, {"kind": "attention", "patch": 4, "heads": 8, "head_dim": 48}, 640_618),
        (MNIST, {"kind": "attention", "patch": 4, "heads": 8, "head_dim": 48}, 622_506),
    ],
)
def test_parameters_of_table_3(info: DatasetInfo, values: dict[str, Any], count: int) -> None:
    assert count_parameters(build(info, **values)) == count


def test_patches_by_hand() -> None:
    """Two channels of 2 x 4: patch 0 is the left half, patch 1 the right; channel after channel, row after row."""
    image = torch.arange(16).view(1, 1, 2, 2, 4)
    assert patches(image, 2)[0, 0].tolist() == [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]
    assert patches(image, 1)[0, 0].tolist() == [[i, i + 8] for i in range(8)]


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape, kernel", SHAPES)
def test_conv_is_that_of_a_module(shape: tuple[int, int, int], kernel: int, slope: float) -> None:
    info = small(*shape)
    model = Conv(ConvConfig(kind="conv", filters=4, kernel=kernel, slope=slope), info)
    weights, inputs = drawn(model, 1, 2, 3), images(3, 7, info)
    logits = model.forward(weights, inputs)
    assert logits.shape == (3, 7, 5)
    for i in range(3):
        child = {name: weight[i] for name, weight in weights.items()}
        filters = child["hidden.weight"].view(4, shape[0], kernel, kernel)
        units = functional.conv2d(inputs[i], filters, child["hidden.bias"], stride=kernel)
        units = torch.where(units >= 0, units, slope * units).permute(0, 2, 3, 1).flatten(1)
        expected = units @ child["output.weight"].T + child["output.bias"]
        torch.testing.assert_close(logits[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", ["unit", "filter"])
@pytest.mark.parametrize("shape, kernel", SHAPES)
def test_local_is_a_small_layer_at_every_position(shape: tuple[int, int, int], kernel: int, bias: str) -> None:
    info = small(*shape)
    model = Local(LocalConfig.model_validate({"kind": "local", "filters": 4, "kernel": kernel, "bias": bias}), info)
    weights, inputs = drawn(model, 1, 2), images(2, 7, info)
    logits = model.forward(weights, inputs)
    for i in range(2):
        units, position = [], 0
        for top in range(0, shape[1], kernel):
            for left in range(0, shape[2], kernel):
                seen = inputs[i][:, :, top : top + kernel, left : left + kernel].flatten(1)
                offset = weights["hidden.bias"][i] if bias == "filter" else weights["hidden.bias"][i, position]
                units.append(functional.linear(seen, weights["hidden.weight"][i, position], offset))
                position += 1
        output = (weights["output.weight"][i], weights["output.bias"][i])
        expected = functional.linear(functional.relu(torch.cat(units, 1)), *output)
        torch.testing.assert_close(logits[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "shape, patch, heads, head_dim",
    [((1, 8, 8), 2, 4, 8), ((3, 4, 6), 2, 1, 5), ((2, 6, 3), 3, 3, 2), ((3, 32, 32), 4, 8, 48), ((1, 4, 4), 4, 2, 3)],
)
def test_attention_is_that_of_a_module(shape: tuple[int, int, int], patch: int, heads: int, head_dim: int) -> None:
    info = small(*shape)
    model = Attention(AttentionConfig(kind="attention", patch=patch, heads=heads, head_dim=head_dim), info)
    weights, inputs = drawn(model, 1, 2), images(2, 7, info)
    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    logits = model.forward(leaves, inputs)
    labels = torch.arange(7) % 5
    sum(functional.cross_entropy(logits[i], labels) for i in range(2)).backward()
    for i in range(2):
        vit = PlainAttention(shape, 5, patch, heads, head_dim)
        vit.load({name: weight[i] for name, weight in weights.items()})
        expected = vit(inputs[i])
        torch.testing.assert_close(logits[i], expected, rtol=1e-4, atol=1e-5)
        functional.cross_entropy(expected, labels).backward()
        gradients = {name: parameter.grad for name, parameter in vit.named().items()}
        assert gradients.keys() == leaves.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(leaves[name].grad[i], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_init_follows_the_generator_only() -> None:
    for values in (
        {"kind": "conv", "filters": 3, "kernel": 2},
        {"kind": "local", "filters": 3, "kernel": 2, "start_from_conv": True},
        {"kind": "local", "filters": 3, "kernel": 2},
        {"kind": "attention", "patch": 2, "heads": 2, "head_dim": 3},
        {"kind": "mlp", "depth": 2, "width": 18, "start_from_local": {"filters": 3, "kernel": 2}},
        {"kind": "mlp", "depth": 3, "width": 8, "slope": 0.0},
    ):
        model = build(small(2, 4, 6), **values)
        torch.manual_seed(1)
        a = model.init(torch.Generator().manual_seed(4))
        torch.manual_seed(2)
        b, c = model.init(torch.Generator().manual_seed(4)), model.init(torch.Generator().manual_seed(5))
        assert {name: tuple(value.shape) for name, value in a.items()} == model.shapes
        for name in a:
            assert torch.equal(a[name], b[name]), name
            assert "norm" in name or not torch.equal(a[name], c[name]), name
            assert a[name].dtype == torch.float32 and a[name].is_contiguous()


@pytest.mark.parametrize("kind", ["conv", "local"])
def test_torch_default_is_uniform_by_the_fan_in_of_a_patch(kind: str) -> None:
    weights = build(CIFAR10, kind=kind, filters=200, kernel=4).init(torch.Generator().manual_seed(0))
    like = nn.Conv2d(3, 200, 4)
    for name, bound in (("hidden", 48**-0.5), ("output", (64 * 200) ** -0.5)):
        for part in ("weight", "bias"):
            found = weights[f"{name}.{part}"]
            assert found.abs().max() <= bound
            assert found.numel() < 100 or found.abs().max() > 0.97 * bound
            assert found.numel() < 1000 or float(found.std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)
    assert float(weights["hidden.weight"].std()) == pytest.approx(float(like.weight.detach().std()), rel=0.03)


@pytest.mark.parametrize("slope, gain, factor", [(0.0, "slope", 2.0), (1.0, "slope", 1.0), (1.0, "sqrt2", 2.0)])
@pytest.mark.parametrize("kind", ["conv", "local"])
def test_kaiming_normal_by_the_fan_in_of_a_patch(kind: str, slope: float, gain: str, factor: float) -> None:
    values = {"kind": kind, "filters": 300, "kernel": 4, "slope": slope, "init": "kaiming-normal", "gain": gain}
    weights = build(CIFAR10, **values).init(torch.Generator().manual_seed(0))
    assert float(weights["hidden.weight"].std()) == pytest.approx(math.sqrt(factor / 48), rel=0.03)
    assert float(weights["output.weight"].std()) == pytest.approx(math.sqrt(factor / (64 * 300)), rel=0.03)
    assert not weights["hidden.bias"].any() and not weights["output.bias"].any()


@pytest.mark.parametrize("gain, factor", [("slope", 1.0), ("sqrt2", 2.0)])
def test_attention_begins_with_unit_norms_and_small_tokens(gain: str, factor: float) -> None:
    values = {"kind": "attention", "patch": 4, "heads": 8, "head_dim": 48, "init": "kaiming-normal", "gain": gain}
    weights = build(CIFAR10, **values).init(torch.Generator().manual_seed(0))
    for name, weight in weights.items():
        if "norm" in name:
            assert torch.equal(weight, torch.full_like(weight, name.endswith("weight")))
    assert float(weights["positions"].std()) == pytest.approx(0.02, rel=0.03)
    assert float(weights["class_token"].std()) == pytest.approx(0.02, rel=0.15)
    for name, fan_in in (("embed", 48), ("qkv", 384), ("project", 384)):
        assert float(weights[f"{name}.weight"].std()) == pytest.approx(math.sqrt(factor / fan_in), rel=0.03)
    assert not weights["embed.bias"].any()
    plain = build(CIFAR10, kind="attention", patch=4, heads=8, head_dim=48).init(torch.Generator().manual_seed(0))
    assert 0.99 * 384**-0.5 < float(plain["qkv.weight"].abs().max()) <= 384**-0.5


@pytest.mark.parametrize("bias", ["unit", "filter"])
@pytest.mark.parametrize("init", [{}, {"init": "kaiming-normal", "gain": "slope"}])
def test_local_begins_as_the_cnn_of_its_seed(bias: str, init: dict[str, str]) -> None:
    info = small(3, 8, 12)
    shape = {"filters": 6, "kernel": 4, "slope": 0.2, **init}
    conv = build(info, kind="conv", **shape)
    local = build(info, kind="local", bias=bias, start_from_conv=True, **shape)
    shared, own = drawn(conv, 3, 8), drawn(local, 3, 8)
    for p in range(6):
        assert torch.equal(own["hidden.weight"][:, p], shared["hidden.weight"])
        assert torch.equal(own["hidden.bias"][:, p] if bias == "unit" else own["hidden.bias"], shared["hidden.bias"])
    assert torch.equal(own["output.weight"], shared["output.weight"])
    assert torch.equal(own["output.bias"], shared["output.bias"])
    inputs = images(2, 9, info)
    torch.testing.assert_close(local.forward(own, inputs), conv.forward(shared, inputs), rtol=0.0, atol=1e-6)


def test_mlp_begins_as_the_local_network_of_its_seed() -> None:
    info = small(3, 8, 12)
    shape = {"filters": 5, "kernel": 4}
    for more in ({"slope": 0.2}, {"slope": 1.0, "init": "kaiming-normal", "gain": "slope"}):
        local = build(info, kind="local", **shape, **more)
        mlp = build(info, kind="mlp", depth=2, width=6 * 5, start_from_local=shape, **more)
        own, dense = drawn(local, 3, 8), drawn(mlp, 3, 8)
        assert torch.equal(dense["layers.1.weight"], own["output.weight"])
        assert int(dense["layers.0.weight"].count_nonzero()) == 2 * 6 * 5 * 48  # the rest is zero, and free to grow
        inputs = images(2, 9, info)
        torch.testing.assert_close(mlp.forward(dense, inputs), local.forward(own, inputs), rtol=0.0, atol=1e-6)


LOCAL = {"filters": 2, "kernel": 5}
MISFITS: list[tuple[dict[str, Any], str, object]] = [
    ({"kind": "conv", **LOCAL}, "model.kernel: found 5", "32 and 32"),
    ({"kind": "local", **LOCAL}, "model.kernel: found 5", "32 and 32"),
    ({"kind": "attention", "patch": 7, "heads": 1, "head_dim": 2}, "model.patch: found 7", "32 and 32"),
    ({"kind": "mlp", "depth": 2, "width": 8, "start_from_local": LOCAL}, "model.kernel: found 5", "32 and 32"),
    ({"kind": "mlp", "depth": 2, "width": 127, "start_from_local": {"filters": 2, "kernel": 4}}, "found 127", "128"),
]


@pytest.mark.parametrize("values, found, allowed", MISFITS)
def test_what_does_not_fit_the_image_is_one_line(values: dict[str, Any], found: str, allowed: str) -> None:
    with pytest.raises(LmcError) as caught:
        build(CIFAR10, **values)
    line = str(caught.value)
    assert found in line and allowed in line and "cifar10" in line and "\n" not in line


def test_flops_counted_by_hand() -> None:
    """2 x 4 x 6 pixels, 3 filters of 2 x 2: 6 positions, 8 values a patch, 18 units, 5 classes."""
    info = small(2, 4, 6)
    for kind in ("conv", "local"):
        assert build(info, kind=kind, filters=3, kernel=2).forward_flops() == (2 * 18 * 8, 2 * 18 * 5)
    # 6 patches of 8 values to 4: 192; scores and means of 7 tokens and 2 heads: 2 x 7 x 4 x 2 = 112; values of
    # 2 means, 2 x 4 x 2 = 16; project 16; classes 20.
    attention = build(info, kind="attention", patch=2, heads=2, head_dim=2)
    assert attention.forward_flops() == (0, 2 * (192 + 112 + 16 + 16 + 20))
