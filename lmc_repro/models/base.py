"""The interface of a network: shapes, an initialisation, and a forward pass over a stack of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from lmc_repro.config.run import GainKind, InitKind, ModelSettings

if TYPE_CHECKING:  # `lmc check` loads no torch for a network of one's own that needs none to be read
    from torch import Generator, Tensor

    from lmc_repro.data.dataset import Split

Weights: TypeAlias = "Mapping[str, Tensor]"
"""Tensors by name, as in a module's state_dict: of one run, or stacked with a leading axis C of runs."""


@dataclass(frozen=True)
class Place:
    """Where the units of an axis lie in one weight.

    Attributes:
        weight: The weight's name.
        shape: The weight viewed with a side of its own for the units.
        side: Which side of `shape` counts the units.
        at: Indices that are fixed, by side; the others are whole.
        span: The part of `side` that the units take, its first index and the one after its last; None for all.
    """

    weight: str
    shape: tuple[int, ...]
    side: int
    at: tuple[tuple[int, int], ...] = ()
    span: tuple[int, int] | None = None

    @property
    def units(self) -> int:
        """The number of units."""
        return self.span[1] - self.span[0] if self.span else self.shape[self.side]

    def part(self, weight: Tensor) -> Tensor:
        """Return a view of the part of the weight that is meant: `shape` without its fixed sides."""
        index: list[int | slice] = [slice(None)] * len(self.shape)
        index[self.side] = slice(*self.span) if self.span else slice(None)
        for side, at in self.at:
            index[side] = at
        return weight.view(self.shape)[tuple(index)]

    @property
    def free_side(self) -> int:
        """The side of `part` that counts the units."""
        return self.side - sum(fixed < self.side for fixed, _ in self.at)


Axes: TypeAlias = Mapping[str, tuple[Place, ...]]
"""Groups of interchangeable units by name, each with all places that its units have.

A permutation of a group, applied at every place, leaves the network's function as it is: neurons of a hidden layer,
filters, attention heads. Weight matching aligns networks over these groups (Ainsworth et al. 2023, arXiv 2209.04836).
"""


class Forward(Protocol):
    """The interface of a network in evaluation."""

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes] for stacked weights and inputs [C, b, channels, height, width]."""
        ...


class Model(Forward, Protocol):
    """A network without state. All randomness is the generator's; all weights are arguments.

    The forward pass is made of batched matrix products, so that on a CPU with one thread a run's bits do not depend
    on the other runs of its stack (grouped convolutions and fused attention break that).
    """

    shapes: dict[str, tuple[int, ...]]

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one run, float32 on the CPU."""
        ...

    def axes(self) -> Axes:
        """Return the groups of units that may be permuted."""
        ...

    def hidden(self, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs of each group of `axes`, before a nonlinearity, [C, samples, units].

        A unit that sees several positions, such as a filter, has one sample per position. A group whose units hold
        other groups, such as heads, is left out.
        """
        ...

    def forward_flops(self) -> tuple[int, int]:
        """Return multiply-adds x 2 of one sample's forward pass: (of the first layer, of the others).

        The first layer is the one whose inputs need no gradient: a step costs 2 x the first and 3 x the others.
        """
        ...

    def activations(self) -> int:
        """Return about how many numbers a step keeps per sample, beside its input: memory, not arithmetic."""
        ...


@runtime_checkable
class AffineFirst(Protocol):
    """Optional interface of a model that begins with an affine map: forward = rest after first_layer.

    Then the first layer's outputs on a straight line between two networks lie on a straight line themselves.
    """

    def first_layer(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return the outputs [C, ...] of the first layer, before its activation: affine in its weights and biases."""
        ...

    def rest(self, weights: Weights, first: Tensor) -> Tensor:
        """Return logits [C, b, classes] from the first layer's outputs, which it may overwrite."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """Optional interface of a model whose evaluation needs statistics of the training images."""

    def calibrated(self, weights: Weights, train: Split) -> Forward:
        """Return the evaluator of stacked weights [C, ...], with statistics estimated on a whole training split."""
        ...


def evaluated(model: Forward, weights: Weights, train: Split) -> Forward:
    """Return the network as evaluations of these stacked weights see it."""
    return model.calibrated(weights, train) if isinstance(model, Calibrated) else model


class FirstThenRest:
    """Mixin for an `AffineFirst` model: its forward pass is one part after the other."""

    def forward(self: AffineFirst, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes] for inputs [C, b, channels, height, width]."""
        return self.rest(weights, self.first_layer(weights, inputs))


@dataclass(frozen=True)
class LinearInit:
    """How linear maps are drawn, float32; `slope` is that of the network's leaky ReLU (1: there is none).

    - torch-default: weights and biases uniform in +-1/sqrt(fan_in), as torch.nn.Linear and torch.nn.Conv2d do.
    - kaiming-normal: weights normal with std gain / sqrt(fan_in), biases zero (He et al. 2015, arXiv 1502.01852);
      gain `slope` is sqrt(2 / (1 + slope^2)), `sqrt2` the square root of 2 whatever the slope (torch's default call).
    """

    init: InitKind
    gain: GainKind | None
    slope: float
    generator: Generator

    def weight(self, *shape: int) -> Tensor:
        """Return weights of `shape`, whose last side is the fan in."""
        import torch

        fan_in = shape[-1]
        weight = torch.empty(*shape)
        if self.init == "torch-default":
            bound = 1.0 / sqrt(fan_in)
            return weight.uniform_(-bound, bound, generator=self.generator)
        factor = sqrt(2.0) if self.gain == "sqrt2" else sqrt(2.0 / (1.0 + self.slope**2))
        return weight.normal_(0.0, factor / sqrt(fan_in), generator=self.generator)

    def bias(self, fan_in: int, *shape: int) -> Tensor:
        """Return biases of `shape` for units of `fan_in` inputs each."""
        import torch

        if self.init != "torch-default":
            return torch.zeros(*shape)
        bound = 1.0 / sqrt(fan_in)
        return torch.empty(*shape).uniform_(-bound, bound, generator=self.generator)


class FromShapes:
    """Mixin for a model of matrices [out, in] and biases [out]: initial weights and costs.

    `shapes` holds each matrix before its bias, the first layer's first; each meets a sample once. The slope is that of
    the settings, 0 (ReLU) where they have none.
    """

    config: ModelSettings
    shapes: dict[str, tuple[int, ...]]

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one run, drawn in the order of `shapes`."""
        draw = LinearInit(self.config.init, self.config.gain, getattr(self.config, "slope", 0.0), generator)
        weights, fan_in = {}, 0
        for name, shape in self.shapes.items():
            if len(shape) == 2:
                weights[name], fan_in = draw.weight(*shape), shape[1]
            else:
                weights[name] = draw.bias(fan_in, *shape)
        return weights

    def forward_flops(self) -> tuple[int, int]:
        """Return 2 x the weights of the first matrix, and of the others."""
        first, *others = (2 * prod(shape) for shape in self.shapes.values() if len(shape) == 2)
        return first, sum(others)

    def activations(self) -> int:
        """Return the sizes of all matrices' outputs, before and after an activation."""
        return 2 * sum(shape[0] for shape in self.shapes.values() if len(shape) == 2)


def count_parameters(model: Model) -> int:
    """Return the number of trainable parameters of one network."""
    return sum(prod(shape) for shape in model.shapes.values())
