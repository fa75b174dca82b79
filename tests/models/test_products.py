"""The affine map of all networks: its gradients are written by hand, so they are held against differences."""

from __future__ import annotations

import pytest
import torch

from lmc_repro.common.numerics import is_portable
from lmc_repro.models.products import affine, matmul, product

UNIT = 2.0**-24  # half a float32's spacing at 1: the relative error of one rounding

# Blocks and tiles of matrix libraries begin at multiples of 4 to some 300: sides around them, and sides of one.
SIDES = [
    *((1, 1, 1), (3, 1, 5), (1, 128, 128), (64, 10, 128), (64, 128, 64)),
    *((7, 9, 700), (250, 8, 4), (130, 65, 1), (321, 70, 385)),
]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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
    if not biased:
        assert torch.autograd.gradcheck(product, (given[0], draw(children, inputs, outputs)))


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


def bound(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return how far a float32 sum of k products may lie from the true one, in any order (Higham 2002, Section 3.1)."""
    terms = a.shape[2] + (bias is not None)
    sizes = a.double().abs() @ b.double().abs()
    if bias is not None:
        sizes = sizes + bias.double().abs().unsqueeze(1)
    return terms * UNIT / (1 - terms * UNIT) * sizes


@pytest.mark.parametrize("m, n, k", SIDES)
@pytest.mark.parametrize("children", [1, 3])
def test_products_are_within_the_bound_of_float32_sums(children: int, m: int, n: int, k: int) -> None:
    a, b, bias = drawn(children, m, k), drawn(children, k, n, seed=1), drawn(children, n, seed=2)
    exact = a.double() @ b.double()
    assert ((matmul(a, b) - exact).abs() <= bound(a, b)).all()
    with_bias = exact + bias.double().unsqueeze(1)
    assert ((matmul(a, b, bias) - with_bias).abs() <= bound(a, b, bias)).all()


@pytest.mark.parametrize("m, n, k", SIDES)
def test_gradients_are_within_the_bound_of_float32_sums(m: int, n: int, k: int) -> None:
    x, weight, dy = drawn(3, m, k).requires_grad_(), drawn(3, n, k, seed=1).requires_grad_(), drawn(3, m, n, seed=2)
    for_x, for_weight = torch.autograd.grad(affine(x, weight), (x, weight), dy)
    x, weight = x.detach(), weight.detach()
    assert ((for_x - dy.double() @ weight.double()).abs() <= bound(dy, weight)).all()
    assert ((for_weight - dy.mT.double() @ x.double()).abs() <= bound(dy.mT, x)).all()
    assert for_weight.is_contiguous() or is_portable() is False  # else every step transposes it
    a, b = drawn(3, m, k).requires_grad_(), drawn(3, k, n, seed=1).requires_grad_()
    for_a, for_b = torch.autograd.grad(product(a, b), (a, b), dy)
    a, b = a.detach(), b.detach()
    assert ((for_a - dy.double() @ b.mT.double()).abs() <= bound(dy, b.mT)).all()
    assert ((for_b - a.mT.double() @ dy.double()).abs() <= bound(a.mT, dy)).all()


@pytest.mark.skipif(not is_portable(), reason="native products are torch's own")
@pytest.mark.parametrize("m, n, k", SIDES)
def test_bits_depend_neither_on_strides_nor_on_the_stack(m: int, n: int, k: int) -> None:
    a, b = drawn(3, m, k), drawn(3, k, n, seed=1)
    expected = matmul(a, b)
    wide_a, wide_b = drawn(3, m + 2, 2 * k, seed=3), drawn(6, k + 1, n + 3, seed=4)
    wide_a[:, 1:-1, ::2], wide_b[::2, :-1, 3:] = a, b  # every other number of a row; rows that lie apart
    layouts_a = (a.mT.contiguous().mT, wide_a[:, 1:-1, ::2], a.transpose(0, 1).contiguous().transpose(0, 1))
    layouts_b = (b.mT.contiguous().mT, wide_b[::2, :-1, 3:], b.transpose(0, 1).contiguous().transpose(0, 1))
    for other in layouts_a:
        assert torch.equal(matmul(other, b), expected)
        for turned in layouts_b:
            assert torch.equal(matmul(other, turned), expected)
    for child in range(3):
        assert torch.equal(matmul(a[child : child + 1], b[child : child + 1])[0], expected[child])
    shared = a[:1].expand(3, m, k)
    assert torch.equal(matmul(shared, b)[2], matmul(a[:1], b[2:])[0])  # one matrix for all children
    constant = torch.full((3, m, 1), 0.3).expand(3, m, k)  # one number for a whole row: copied
    assert torch.equal(matmul(constant, b), matmul(constant.contiguous(), b))


def test_a_number_that_is_not_finite_stays_in_its_child() -> None:
    a, b = drawn(3, 9, 40), drawn(3, 40, 17, seed=1)
    expected = matmul(a, b)
    a[1, 4, 7] = float("nan")
    found = matmul(a, b)
    assert found[1, 4].isnan().all() and found.isnan().sum() == 17
    assert torch.equal(found[::2], expected[::2])
