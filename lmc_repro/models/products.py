"""The matrix product of all networks: a run's bits are the same in every stack.

Nothing else in training or evaluation multiplies matrices. In portable numerics, on a CPU, the products are those of
`lmc_repro.common.openblas`, equal on every CPU with AVX2; otherwise torch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.common.numerics import is_portable
from lmc_repro.common.openblas import Operand, sgemm

_INT32 = 2**31  # OpenBLAS counts in 32 bits


def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a b + bias, contiguous, without a gradient of its own.

    Args:
        a: [C, m, k], of any strides.
        b: [C, k, n], of any strides.
        bias: [C, n], added to every row; None for none.

    Returns:
        [C, m, n], contiguous.
    """
    if not _portable(a):
        return torch.bmm(a, b) if bias is None else torch.baddbmm(bias.unsqueeze(1), a, b)
    (runs, m, k), n = a.shape, b.shape[2]
    out = a.new_empty(runs, m, n)
    if bias is not None:
        out.copy_(bias.unsqueeze(1))
    if out.numel():
        a, a_lies = _operand(a)
        b, b_lies = _operand(b)
        sgemm(m, n, k, a_lies, b_lies, 0.0 if bias is None else 1.0, out.data_ptr(), runs)
    return out


def _portable(a: Tensor) -> bool:
    """Return whether the products of `a` are OpenBLAS's: of float32, on a CPU, that are not to be rounded to bf16."""
    return is_portable() and a.dtype == torch.float32 and a.is_cpu and not torch.is_autocast_enabled("cpu")


def _operand(stack: Tensor) -> tuple[Tensor, Operand]:
    """Return a stack [C, rows, columns] and where it lies; a copy of it if its strides are none that BLAS reads.

    A side of one has no stride of its own: the leading side is then the other side's length.
    """
    _, rows, columns = stack.shape
    across, row, column = stack.stride()
    as_it_lies, turned = (False, columns, rows, column, row), (True, rows, columns, row, column)
    for swapped, length, count, inner, outer in (as_it_lies, turned):
        leading = outer if count > 1 else length
        if (inner == 1 or length == 1) and length <= leading < _INT32 and across < _INT32:
            return stack, (stack.data_ptr(), swapped, max(leading, 1), across)
    stack = stack.contiguous()
    return stack, (stack.data_ptr(), False, max(columns, 1), rows * columns)


class _Product(torch.autograd.Function):
    """`matmul` of two stacks, with both gradients laid out as their factors are."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return matmul(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        a, b = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad
        return matmul(dy, b.mT) if for_a else None, matmul(a.mT, dy) if for_b else None


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b [C, m, n] of a [C, m, k] and b [C, k, n], with gradients."""
    result: Tensor = _Product.apply(a, b) if torch.is_grad_enabled() and _portable(a) else matmul(a, b)
    return result


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W' + bias [C, n, out] of x [C, n, in], weight [C, out, in] and bias [C, out].

    MKL computes a lone product of a matrix and a vector, or of a column and a row, with other kernels, and so other
    bits, than the same product in a stack. So in native mode a side of one gets a second one of zeros.
    """
    outputs, inputs = weight.shape[1:]
    widened = not is_portable() and outputs == 1
    if inputs == 1 and not is_portable():
        x, weight = functional.pad(x, (0, 1)), functional.pad(weight, (0, 1))
    if widened:
        weight = functional.pad(weight, (0, 0, 0, 1))
        bias = None if bias is None else functional.pad(bias, (0, 1))
    # A GPU reads a transposed matrix as fast, and its products may be in other numbers (training/precision.py).
    trained_here = torch.is_grad_enabled() and not x.is_cuda
    y: Tensor = _Affine.apply(x, weight, bias) if trained_here else matmul(x, weight.mT, bias)
    return y[..., :1] if widened else y


class _Affine(torch.autograd.Function):
    """x W' + bias with the weight's gradient as dy' x, laid out as the weight is.

    torch computes the transposed product x' dy, and leaves the transposing to whoever uses the gradient: together a
    sixth of a step of 8 digits layers.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return matmul(x, weight.mT, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            matmul(dy, weight) if for_x else None,
            matmul(dy.mT, x) if for_weight else None,
            dy.sum(1) if for_bias else None,
        )
