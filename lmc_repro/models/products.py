"""The matrix product of which all networks are made: a child's bits are the same in every stack."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
    y = torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
    return y[..., :1] if outputs == 1 else y
