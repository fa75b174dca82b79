"""The matrix product of which all networks are made: a child's bits are the same in every stack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.numerics import is_portable

_LARGE = 16


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W' + bias [C, n, out] of x [C, n, in], weight [C, out, in] and bias [C, out].

    Matrix libraries compute a lone product of a matrix and a vector, or of a column and a row, with other kernels, and
    so other bits, than the same product in a stack. So a side of one gets a second one of zeros, in the gradient too.
    """
    outputs, inputs = weight.shape[1:]
    if inputs == 1:
        x, weight = functional.pad(x, (0, 1)), functional.pad(weight, (0, 1))
    if outputs == 1:
        weight = functional.pad(weight, (0, 0, 0, 1))
        bias = None if bias is None else functional.pad(bias, (0, 1))
    # A GPU reads a transposed matrix as fast, and its products may be in other numbers (training/precision.py).
    trained_here = torch.is_grad_enabled() and not x.is_cuda
    y = _Affine.apply(x, weight, bias) if trained_here else _product(x, weight, bias)
    return y[..., :1] if outputs == 1 else y


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def _weight_gradient(dy: Tensor, x: Tensor) -> Tensor:
    if min(dy.shape[2], x.shape[2]) < _LARGE and is_portable():
        return torch.bmm(x.mT, dy).mT
    return torch.bmm(dy.mT, x)


class _Affine(torch.autograd.Function):
    """`_product` with the weight's gradient as dy' x, laid out as the weight is.

    torch computes the transposed product x' dy, and leaves the transposing to whoever uses the gradient: together a
    sixth of a step of 8 digits layers. The bits are the same where both sides have `_LARGE` numbers or more; smaller
    ones, for which matrix libraries have other kernels, are computed as torch does in portable numerics. Native ones
    take the faster way: seven times, for the ten outputs of 784-512-10.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            torch.bmm(dy, weight) if for_x else None,
            _weight_gradient(dy, x) if for_weight else None,
            dy.sum(1) if for_bias else None,
        )
