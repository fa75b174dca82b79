"""A CNN of one hidden layer: one filter bank for all positions, stride = kernel, no padding (paper, Appendix D).

Convolutions with stride = kernel are a reshape to patches, side by side, and a matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.config.catalog import DatasetInfo, patch_count
from lmc_repro.config.run import ConvConfig
from lmc_repro.models.base import Axes, FirstThenRest, LinearInit, Place, Weights

if TYPE_CHECKING:  # shapes and costs need no torch
    from torch import Generator, Tensor


def patches(inputs: Tensor, side: int) -> Tensor:
    """Return patches [C, b, positions, channels * side * side] of inputs [C, b, channels, height, width].

    Positions go row by row; the values of a patch channel by channel and row by row, as in a Conv2d's weight.
    """
    runs, batch, channels, height, width = inputs.shape
    rows, columns = height // side, width // side
    cut = inputs.reshape(runs, batch, channels, rows, side, columns, side).permute(0, 1, 3, 5, 2, 4, 6)
    return cut.reshape(runs, batch, rows * columns, channels * side * side)


class Conv(FirstThenRest):
    """Shared filters, leaky ReLU, a linear layer on all units.

    hidden.weight [filters, channels * kernel * kernel] is a Conv2d's weight, flattened; hidden.bias [filters];
    output.weight [classes, positions * filters] reads the units position by position; output.bias [classes].
    """

    def __init__(self, config: ConvConfig, info: DatasetInfo) -> None:
        self.config = config
        self.positions = patch_count(info, config.kernel, "kernel")
        self.values = info.shape[0] * config.kernel**2
        self.units = self.positions * config.filters
        self.classes = info.classes
        self.shapes: dict[str, tuple[int, ...]] = {
            "hidden.weight": (config.filters, self.values),
            "hidden.bias": (config.filters,),
            "output.weight": (info.classes, self.units),
            "output.bias": (info.classes,),
        }

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one run: filters, their biases, then the output layer."""
        c = self.config
        draw = LinearInit(c.init, c.gain, c.slope, generator)
        return {
            "hidden.weight": draw.weight(c.filters, self.values),
            "hidden.bias": draw.bias(self.values, c.filters),
            "output.weight": draw.weight(self.classes, self.units),
            "output.bias": draw.bias(self.units, self.classes),
        }

    def axes(self) -> Axes:
        """Return the filters, which are shared by all positions."""
        filters = self.config.filters
        return {
            "filters": (
                Place("hidden.weight", self.shapes["hidden.weight"], 0),
                Place("hidden.bias", self.shapes["hidden.bias"], 0),
                Place("output.weight", (self.classes, self.positions, filters), 2),
            )
        }

    def first_layer(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return the units [C, b, positions * filters], before the activation."""
        from lmc_repro.models.products import affine

        runs, batch = inputs.shape[:2]
        x = patches(inputs, self.config.kernel).reshape(runs, batch * self.positions, self.values)
        x = affine(x, weights["hidden.weight"], weights["hidden.bias"])
        return x.reshape(runs, batch, self.units)

    def hidden(self, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
        """Return the filters' outputs at all positions."""
        return {"filters": self.first_layer(weights, inputs).reshape(len(inputs), -1, self.config.filters)}

    def rest(self, weights: Weights, first: Tensor) -> Tensor:
        """Return logits [C, b, classes] from the units."""
        from torch.nn import functional

        from lmc_repro.models.products import affine

        x = first
        if self.config.slope != 1.0:
            x = functional.leaky_relu(x, self.config.slope, inplace=True)  # the product does not keep it
        return affine(x, weights["output.weight"], weights["output.bias"])

    def forward_flops(self) -> tuple[int, int]:
        """Return 2 x the products of the filters at all positions, and of the output layer."""
        return 2 * self.units * self.values, 2 * self.units * self.classes

    def activations(self) -> int:
        """Return the sizes of patches, units (before and after the leaky ReLU) and logits, gradients included."""
        return self.positions * self.values + 2 * 2 * self.units + 2 * self.classes
