"""Appendix D: local and convolutional layers are linear layers, sparse and with tied weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.run import ConvConfig, LocalConfig, MlpConfig
from lmc_repro.models import dense_equivalent
from lmc_repro.models.registry import build_model

SHAPES = [((1, 4, 4), 2), ((3, 4, 4), 2), ((3, 4, 8), 4), ((2, 6, 3), 3), ((3, 2, 5), 1), ((2, 3, 3), 3)]
FILTERS = 3


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_filter_of_one_pixel_on_two_by_two() -> None:
    weight, shape = torch.tensor([[7.0]]), (1, 2, 2)
    assert torch.equal(dense_equivalent.conv_to_dense(weight, shape, 1), 7.0 * torch.eye(4))
    assert torch.equal(dense_equivalent.mask(shape, 1, 1), torch.eye(4).bool())
    own = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)
    assert torch.equal(dense_equivalent.local_to_dense(own, shape, 1), torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])))
    assert dense_equivalent.dense_to_conv_gradient(torch.arange(16.0).view(4, 4), shape, 1).tolist() == [[30.0]]


def test_kernel_two_on_four_by_four_written_out() -> None:
    a, b, c, d = 1.0, 2.0, 3.0, 4.0
    matrix = dense_equivalent.conv_to_dense(torch.tensor([[a, b, c, d]]), (1, 4, 4), 2)
    assert matrix.tolist() == [
        [a, b, 0, 0, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, a, b, 0, 0, c, d, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, a, b, 0, 0, c, d, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, 0, 0, c, d],
    ]


def test_two_filters_stand_in_neighbouring_rows() -> None:
    """Two positions of 1 x 1 on 1 x 2, two channels: rows p0f0, p0f1, p1f0, p1f1."""
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # filters x channels
    assert dense_equivalent.conv_to_dense(weight, (2, 1, 2), 1).tolist() == [
        [1, 0, 2, 0],
        [3, 0, 4, 0],
        [0, 1, 0, 2],
        [0, 3, 0, 4],
    ]
    assert dense_equivalent.dense_bias(torch.tensor([5.0, 6.0]), 2).tolist() == [5, 6, 5, 6]
    assert dense_equivalent.dense_bias(torch.tensor([[5.0, 6.0], [7.0, 8.0]]), 2).tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("shape, kernel", SHAPES)
def test_values_and_gradients_of_tied_weights(shape: tuple[int, int, int], kernel: int) -> None:
    """conv2d against the linear layer: equal units, and its gradient summed over positions is the convolution's."""
    channels, height, width = shape
    values, positions = channels * kernel**2, height * width // kernel**2
    weight = normal(FILTERS, values, seed=0).requires_grad_()
    bias = normal(FILTERS, seed=1).requires_grad_()
    images, pull = normal(5, *shape, seed=2), normal(5, positions * FILTERS, seed=3)
    filters = weight.view(FILTERS, channels, kernel, kernel)
    units = functional.conv2d(images, filters, bias, stride=kernel).permute(0, 2, 3, 1).flatten(1)
    (units.tanh() * pull).sum().backward()

    matrix = dense_equivalent.conv_to_dense(weight.detach(), shape, kernel).requires_grad_()
    offset = dense_equivalent.dense_bias(bias.detach(), positions).clone().requires_grad_()
    dense = functional.linear(images.flatten(1), matrix, offset)
    torch.testing.assert_close(dense, units)
    (dense.tanh() * pull).sum().backward()
    tied = dense_equivalent.dense_to_conv_gradient(matrix.grad, shape, kernel)
    torch.testing.assert_close(tied, weight.grad)
    torch.testing.assert_close(offset.grad.view(positions, FILTERS).sum(0), bias.grad)
    if positions > 1:  # a sum, not one of its terms or their mean
        assert not torch.allclose(tied, dense_equivalent.dense_to_local(matrix.grad, shape, kernel)[0])
    # The tying is differentiable by itself: through the matrix the gradient reaches the shared weights as that sum.
    again = weight.detach().clone().requires_grad_()
    dense = functional.linear(images.flatten(1), dense_equivalent.conv_to_dense(again, shape, kernel), offset.detach())
    (dense.tanh() * pull).sum().backward()
    torch.testing.assert_close(again.grad, weight.grad)


@pytest.mark.parametrize("shape, kernel", SHAPES)
def test_values_and_gradients_under_the_mask(shape: tuple[int, int, int], kernel: int) -> None:
    """A masked linear layer trained for some steps stays the local layer trained beside it."""
    channels, height, width = shape
    values, positions = channels * kernel**2, height * width // kernel**2
    own = normal(positions, FILTERS, values, seed=0)
    bias = normal(positions, FILTERS, seed=1)
    matrix = dense_equivalent.local_to_dense(own, shape, kernel)
    allowed = dense_equivalent.mask(shape, kernel, FILTERS)
    assert int(allowed.sum()) == own.numel() and torch.equal(matrix != 0, allowed)
    assert torch.equal(dense_equivalent.dense_to_local(matrix, shape, kernel), own)
    images, pull = normal(5, *shape, seed=2), normal(5, positions * FILTERS, seed=3)
    for _ in range(4):
        own, matrix = own.detach().requires_grad_(), matrix.detach().requires_grad_()
        rows, columns = height // kernel, width // kernel
        cut = images.view(5, channels, rows, kernel, columns, kernel).permute(0, 2, 4, 1, 3, 5)
        seen = cut.reshape(5, positions, values)
        units = (torch.einsum("npv,pfv->npf", seen, own) + bias).flatten(1)
        dense = functional.linear(images.flatten(1), matrix, dense_equivalent.dense_bias(bias, positions))
        torch.testing.assert_close(dense, units)
        (units.tanh() * pull).sum().backward()
        (dense.tanh() * pull).sum().backward()
        torch.testing.assert_close(dense_equivalent.dense_to_local(matrix.grad, shape, kernel), own.grad)
        with torch.no_grad():
            own = own - 0.1 * own.grad
            matrix = matrix - 0.1 * matrix.grad * allowed
    torch.testing.assert_close(matrix, dense_equivalent.local_to_dense(own, shape, kernel))


@pytest.mark.parametrize("shape, kernel", SHAPES)
@pytest.mark.parametrize("kind", ["conv", "local-unit", "local-filter"])
def test_the_networks_are_masked_and_tied_mlps(shape: tuple[int, int, int], kernel: int, kind: str) -> None:
    """The package's CNN and locally connected networks against its MLP: logits, and all gradients."""
    channels, height, width = shape
    positions = height * width // kernel**2
    info = replace(dataset_info("mnist"), shape=shape, classes=4, mean=(0.5,) * channels, std=(0.25,) * channels)
    if kind == "conv":
        sparse = build_model(ConvConfig(kind="conv", filters=FILTERS, kernel=kernel, slope=0.3), info)
    else:
        values = {"kind": "local", "filters": FILTERS, "kernel": kernel, "slope": 0.3, "bias": kind.split("-")[1]}
        sparse = build_model(LocalConfig.model_validate(values), info)
    mlp = build_model(MlpConfig(kind="mlp", depth=2, width=positions * FILTERS, slope=0.3), info)
    own = {name: w.double() for name, w in sparse.init(torch.Generator().manual_seed(1)).items()}
    embed = dense_equivalent.conv_to_dense if kind == "conv" else dense_equivalent.local_to_dense
    dense = {
        "layers.0.weight": embed(own["hidden.weight"], shape, kernel),
        "layers.0.bias": dense_equivalent.dense_bias(own["hidden.bias"], positions),
        "layers.1.weight": own["output.weight"],
        "layers.1.bias": own["output.bias"],
    }
    images, pull = normal(1, 5, *shape, seed=2), normal(1, 5, 4, seed=3)
    found = []
    for model, weights in ((sparse, own), (mlp, dense)):
        leaves = {name: w.clone().unsqueeze(0).requires_grad_() for name, w in weights.items()}
        logits = model.forward(leaves, images)
        (logits.tanh() * pull).sum().backward()
        found.append((logits, {name: leaf.grad[0] for name, leaf in leaves.items()}))
    (logits, gradients), (dense_logits, dense_gradients) = found
    torch.testing.assert_close(dense_logits, logits)
    reduce = dense_equivalent.dense_to_conv_gradient if kind == "conv" else dense_equivalent.dense_to_local
    torch.testing.assert_close(reduce(dense_gradients["layers.0.weight"], shape, kernel), gradients["hidden.weight"])
    by_unit = dense_gradients["layers.0.bias"].view(positions, FILTERS)
    torch.testing.assert_close(by_unit if kind == "local-unit" else by_unit.sum(0), gradients["hidden.bias"])
    torch.testing.assert_close(dense_gradients["layers.1.weight"], gradients["output.weight"])
