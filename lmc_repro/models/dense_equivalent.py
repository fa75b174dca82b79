"""Locally connected and convolutional layers as one linear layer: sparse, and with tied weights (paper, Appendix D).

With stride = kernel the weight matrix [positions * filters, channels * height * width] has the filters of position p in
its rows p * filters to (p + 1) * filters - 1, in the columns of the pixels that p sees, and zeros elsewhere. Local
layers are this matrix under a mask; in a convolution the blocks of all positions are tied to each other too. `shape`
is that of an image: (channels, height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lmc_repro.models.conv import patches

Shape = tuple[int, int, int]


def pixels(shape: Shape, kernel: int) -> Tensor:
    """Return int64 [positions, channels * kernel * kernel]: for each patch value, its index in the flat image."""
    channels, height, width = shape
    image = torch.arange(channels * height * width).view(1, 1, *shape)
    return patches(image, kernel)[0, 0]


def mask(shape: Shape, kernel: int, filters: int) -> Tensor:
    """Return bool [positions * filters, features]: where the linear layer has weights."""
    seen = pixels(shape, kernel)
    ones = torch.ones(seen.shape[0], filters, seen.shape[1])
    return local_to_dense(ones, shape, kernel).bool()


def local_to_dense(weight: Tensor, shape: Shape, kernel: int) -> Tensor:
    """Return the matrix of a local layer's weight [positions, filters, values]."""
    positions, filters, values = weight.shape
    columns = pixels(shape, kernel).unsqueeze(1).expand(positions, filters, values)
    features = shape[0] * shape[1] * shape[2]
    return weight.new_zeros(positions, filters, features).scatter(2, columns, weight).flatten(0, 1)


def conv_to_dense(weight: Tensor, shape: Shape, kernel: int) -> Tensor:
    """Return the matrix of a convolution's weight [filters, values]: the same filters at all positions."""
    positions = pixels(shape, kernel).shape[0]
    return local_to_dense(weight.expand(positions, *weight.shape), shape, kernel)


def dense_bias(bias: Tensor, positions: int) -> Tensor:
    """Return the bias [positions * filters] from one per filter, [filters], or per unit, [positions, filters]."""
    return bias.expand(positions, bias.shape[-1]).flatten()


def dense_to_local(matrix: Tensor, shape: Shape, kernel: int) -> Tensor:
    """Return the entries under the mask as [positions, filters, values]: of a gradient, the local layer's."""
    seen = pixels(shape, kernel)
    positions, values = seen.shape
    blocks = matrix.view(positions, -1, matrix.shape[1])
    return blocks.gather(2, seen.unsqueeze(1).expand(positions, blocks.shape[1], values))


def dense_to_conv_gradient(gradient: Tensor, shape: Shape, kernel: int) -> Tensor:
    """Return the gradient [filters, values] of tied weights: the sum over positions of the matrix's."""
    return dense_to_local(gradient, shape, kernel).sum(0)
