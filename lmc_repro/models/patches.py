"""Images as square patches side by side: convolutions with stride = kernel are a reshape and a matrix product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.errors import LmcError

if TYPE_CHECKING:  # shapes and costs are asked for without torch
    from torch import Tensor


def patch_count(info: DatasetInfo, side: int, key: str) -> int:
    """Return the number of patches, `side` pixels high and wide, in an image; LmcError where they do not fill it.

    `key` is the setting that gave `side`: kernel or patch.
    """
    _, height, width = info.shape
    if height % side or width % side:
        raise LmcError(
            f"model.{key}: found {side}, allowed: a divisor of {height} and {width}, the sides of an image of "
            f"{info.name}"
        )
    return (height // side) * (width // side)


def patches(inputs: Tensor, side: int) -> Tensor:
    """Return patches [C, b, positions, channels * side * side] of inputs [C, b, channels, height, width].

    Positions go row by row; the values of a patch channel by channel and row by row, as in a Conv2d's weight.
    """
    children, batch, channels, height, width = inputs.shape
    rows, columns = height // side, width // side
    cut = inputs.reshape(children, batch, channels, rows, side, columns, side).permute(0, 1, 3, 5, 2, 4, 6)
    return cut.reshape(children, batch, rows * columns, channels * side * side)
