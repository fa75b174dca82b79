"""N-layer fully connected networks with a leaky-ReLU slope: linear networks, ReLU MLPs and all between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.run import LocalConfig, MlpConfig
from lmc_repro.models.base import Axes, FirstThenRest, FromShapes, Place, Weights
from lmc_repro.models.local import Local

if TYPE_CHECKING:  # shapes and costs need no torch
    from torch import Generator, Tensor


class Mlp(FirstThenRest, FromShapes):
    """`depth` linear layers, named as in a torch.nn.ModuleList: layers.0.weight [out, in], layers.0.bias [out], ...

    `start` gives the initial weights of one run in place of `config.init`: those of another network, embedded.
    """

    def __init__(
        self,
        config: MlpConfig,
        features: int,
        classes: int,
        start: Callable[[Generator], dict[str, Tensor]] | None = None,
    ) -> None:
        self.config: MlpConfig = config
        self.start = start
        hidden = [config.width or 0] * (config.depth - 1)
        self.shapes = {}
        for i, (fan_in, fan_out) in enumerate(pairwise([features, *hidden, classes])):
            self.shapes[f"layers.{i}.weight"] = (fan_out, fan_in)
            if config.bias:
                self.shapes[f"layers.{i}.bias"] = (fan_out,)

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one run: another network's, or drawn layer after layer."""
        if self.start is not None:
            return self.start(generator)
        return super().init(generator)

    def axes(self) -> Axes:
        """Return the neurons of each hidden layer."""
        axes = {}
        for i in range(self.config.depth - 1):
            sides = {f"layers.{i}.weight": 0, f"layers.{i}.bias": 0, f"layers.{i + 1}.weight": 1}
            places = (Place(name, self.shapes[name], side) for name, side in sides.items() if name in self.shapes)
            axes[f"layers.{i}"] = tuple(places)
        return axes

    def first_layer(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return the outputs [C, b, width] of the first layer, before the activation."""
        from lmc_repro.models.products import affine

        return affine(inputs.flatten(2), *_layer(weights, 0))

    def hidden(self, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs of each hidden layer, before the activation."""
        from torch.nn import functional

        from lmc_repro.models.products import affine

        x, found = inputs.flatten(2), {}
        for i in range(self.config.depth - 1):
            found[f"layers.{i}"] = affine(x, *_layer(weights, i))
            x = functional.leaky_relu(found[f"layers.{i}"], self.config.slope)
        return found

    def rest(self, weights: Weights, first: Tensor) -> Tensor:
        """Return logits [C, b, classes] from the first layer's outputs."""
        from torch.nn import functional

        from lmc_repro.models.products import affine

        x = first
        for i in range(1, self.config.depth):
            if self.config.slope != 1.0:
                x = functional.leaky_relu(x, self.config.slope, inplace=True)  # the product does not keep it
            x = affine(x, *_layer(weights, i))
        return x


def _layer(weights: Weights, i: int) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of layer `i`."""
    return weights[f"layers.{i}.weight"], weights.get(f"layers.{i}.bias")


def build_mlp(config: MlpConfig, info: DatasetInfo) -> Mlp:
    """Return the fully connected network for a data set; LmcError if it cannot begin as it is to."""
    return Mlp(config, info.features, info.classes, local_start(config, info))


def local_start(config: MlpConfig, info: DatasetInfo) -> Callable[[Generator], dict[str, Tensor]] | None:
    """Return a function that draws an MLP's weights from a locally connected network; None without `start_from_local`.

    The network (bias: unit) is the one that the same generator would draw. LmcError if the hidden layer is not as wide.
    """
    shape = config.start_from_local
    if shape is None:
        return None
    local = Local(
        LocalConfig(
            kind="local",
            filters=shape.filters,
            kernel=shape.kernel,
            slope=config.slope,
            init=config.init,
            gain=config.gain,
        ),
        info,
    )
    if config.width != local.units:
        raise LmcError(
            f"model.width: found {config.width}, allowed with start_from_local: {local.units}, {local.positions} "
            f"positions x {shape.filters} filters on {info.name}"
        )

    def start(generator: Generator) -> dict[str, Tensor]:
        from lmc_repro.models.dense_equivalent import dense_bias, local_to_dense

        weights = local.init(generator)
        return {
            "layers.0.weight": local_to_dense(weights["hidden.weight"], info.shape, shape.kernel),
            "layers.0.bias": dense_bias(weights["hidden.bias"], local.positions),
            "layers.1.weight": weights["output.weight"],
            "layers.1.bias": weights["output.bias"],
        }

    return start
