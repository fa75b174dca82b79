"""A locally connected network: a CNN's connections without its weight sharing (paper, Section 3.3, Appendix D)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.config.catalog import DatasetInfo, patch_count
from lmc_repro.config.run import ConvConfig, LocalConfig
from lmc_repro.models.base import Axes, FirstThenRest, LinearInit, Place, Weights
from lmc_repro.models.conv import Conv, patches

if TYPE_CHECKING:  # shapes and costs need no torch
    from torch import Generator, Tensor


class Local(FirstThenRest):
    """A filter bank of its own at every position, leaky ReLU, a linear layer on all units.

    hidden.weight [positions, filters, channels * kernel * kernel]; hidden.bias [positions, filters], or [filters] with
    `bias: filter`; output.weight [classes, positions * filters], output.bias [classes] as those of the CNN.
    """

    def __init__(self, config: LocalConfig, info: DatasetInfo) -> None:
        self.config, self.info = config, info
        self.positions = patch_count(info, config.kernel, "kernel")
        self.values = info.shape[0] * config.kernel**2
        self.units = self.positions * config.filters
        self.classes = info.classes
        unit = (self.positions, config.filters)
        self.shapes: dict[str, tuple[int, ...]] = {
            "hidden.weight": (*unit, self.values),
            "hidden.bias": unit if config.bias == "unit" else (config.filters,),
            "output.weight": (info.classes, self.units),
            "output.bias": (info.classes,),
        }

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one run: filters, their biases, then the output layer.

        With `start_from_conv` they compute the function of the CNN that the same generator would draw.
        """
        c, shapes = self.config, self.shapes
        if c.start_from_conv:
            conv = ConvConfig(kind="conv", filters=c.filters, kernel=c.kernel, slope=c.slope, init=c.init, gain=c.gain)
            shared = Conv(conv, self.info).init(generator)
            # Shared parameters are copied to every position; the others keep their shape.
            return {name: weight.expand(shapes[name]).clone() for name, weight in shared.items()}
        draw = LinearInit(c.init, c.gain, c.slope, generator)
        return {
            "hidden.weight": draw.weight(*shapes["hidden.weight"]),
            "hidden.bias": draw.bias(self.values, *shapes["hidden.bias"]),
            "output.weight": draw.weight(*shapes["output.weight"]),
            "output.bias": draw.bias(self.units, self.classes),
        }

    def axes(self) -> Axes:
        """Return the filters of each position; with `bias: filter`, which ties positions, those of all at once."""
        weight, bias = self.shapes["hidden.weight"], self.shapes["hidden.bias"]
        output = (self.classes, self.positions, self.config.filters)
        if self.config.bias == "filter":
            whole = (
                Place("hidden.weight", weight, 1),
                Place("hidden.bias", bias, 0),
                Place("output.weight", output, 2),
            )
            return {"filters": whole}
        return {
            f"filters.{p}": (
                Place("hidden.weight", weight, 1, ((0, p),)),
                Place("hidden.bias", bias, 1, ((0, p),)),
                Place("output.weight", output, 2, ((1, p),)),
            )
            for p in range(self.positions)
        }

    def first_layer(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return the units [C, b, positions * filters], before the activation."""
        from lmc_repro.models.products import affine

        runs, batch = inputs.shape[:2]
        each = runs * self.positions  # one matrix product per run and position
        x = patches(inputs, self.config.kernel).transpose(1, 2).reshape(each, batch, self.values)
        x = affine(x, weights["hidden.weight"].flatten(0, 1))
        x = x.view(runs, self.positions, batch, self.config.filters).transpose(1, 2)
        x = x.reshape(runs, batch, self.units)
        bias = weights["hidden.bias"].view(runs, -1, self.config.filters)
        # Added to whole rows: the gradient is then a sum over rows, in the same order in every stack.
        return x + bias.expand(-1, self.positions, -1).reshape(runs, 1, self.units)

    def hidden(self, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
        """Return the filters' outputs, position by position or, with `bias: filter`, at all of them."""
        outputs = self.first_layer(weights, inputs).view(*inputs.shape[:2], self.positions, self.config.filters)
        if self.config.bias == "filter":
            return {"filters": outputs.flatten(1, 2)}
        return {f"filters.{p}": outputs[:, :, p] for p in range(self.positions)}

    def rest(self, weights: Weights, first: Tensor) -> Tensor:
        """Return logits [C, b, classes] from the units."""
        from torch.nn import functional

        from lmc_repro.models.products import affine

        x = first
        if self.config.slope != 1.0:
            x = functional.leaky_relu(x, self.config.slope, inplace=True)  # the sum does not keep it
        return affine(x, weights["output.weight"], weights["output.bias"])

    def forward_flops(self) -> tuple[int, int]:
        """Return 2 x the weights of the hidden layer, and of the output layer."""
        return 2 * self.units * self.values, 2 * self.units * self.classes

    def activations(self) -> int:
        """Return the sizes of patches, units (before and after the leaky ReLU, in rows) and logits, with gradients."""
        return self.positions * self.values + 3 * 2 * self.units + 2 * self.classes
