"""The affine map of all networks: its gradients are written by hand, so they are held against differences."""

from __future__ import annotations

import pytest
import torch

from lmc_repro.models.products import affine


@pytest.mark.parametrize(
    "children, n, inputs, outputs",
    [(2, 5, 4, 3), (3, 1, 2, 4), (1, 4, 1, 3), (2, 3, 4, 1), (1, 1, 1, 1), (1, 3, 17, 16)],
)
@pytest.mark.parametrize("biased", [True, False])
def test_gradients_are_those_of_differences(children: int, n: int, inputs: int, outputs: int, biased: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    given = [draw(children, n, inputs), draw(children, outputs, inputs), *([draw(children, outputs)] if biased else [])]
    assert torch.autograd.gradcheck(affine, given)


def test_by_hand_with_and_without_gradients() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    weight = torch.tensor([[[1.0, -1.0], [0.5, 0.0], [2.0, 1.0]]]).requires_grad_()
    bias = torch.tensor([[10.0, 20.0, 30.0]]).requires_grad_()
    expected = [[[9.0, 20.5, 34.0], [9.0, 21.5, 40.0]]]
    y = affine(x, weight, bias)
    with torch.no_grad():
        assert affine(x, weight, bias).tolist() == y.tolist() == expected
    scale = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]]])
    for_weight, for_bias = torch.autograd.grad((y * scale).sum(), (weight, bias))
    assert for_weight.tolist() == [[[1.0, 2.0], [9.0, 12.0], [5.0, 8.0]]]
    assert for_bias.tolist() == [[1.0, 3.0, 3.0]]


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("inputs, outputs", [(16, 16), (33, 40), (64, 128), (128, 128), (784, 33), (128, 10), (9, 64)])
def test_gradients_have_the_bits_of_torchs_own(inputs: int, outputs: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight, bias, scale = (
        torch.randn(shape, generator=generator).requires_grad_()
        for shape in ((3, batch, inputs), (3, outputs, inputs), (3, outputs), (3, batch, outputs))
    )
    ours = torch.autograd.grad((affine(x, weight, bias) * scale).sum(), (x, weight, bias))
    plain = torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
    for mine, theirs in zip(ours, torch.autograd.grad((plain * scale).sum(), (x, weight, bias)), strict=True):
        assert torch.equal(mine, theirs)
    assert ours[1].is_contiguous() == (min(inputs, outputs) >= 16)  # else every step transposes it
