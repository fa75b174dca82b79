"""What a network is here: shapes, an initialisation, and a forward pass over a stack of children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Generator, Tensor

Weights = Mapping[str, Tensor]
"""Tensors by name, as in a module's state_dict: of one child, or stacked with a leading axis C of children."""


class Model(Protocol):
    """A network without state. All randomness is the generator's; all weights are arguments.

    The forward pass is made of batched matrix products, so that on a CPU with one thread a child's bits do not depend
    on who else is in the stack (grouped convolutions and fused attention break that).
    """

    shapes: dict[str, tuple[int, ...]]

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one child, float32 on the CPU."""
        ...

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes] for stacked weights and inputs [C, b, channels, height, width]."""
        ...

    def forward_flops(self) -> tuple[int, int]:
        """Return multiply-adds x 2 of one sample's forward pass: (of the first layer, of the others)."""
        ...


def count_parameters(model: Model) -> int:
    """Return the number of trainable numbers in one child."""
    total = 0
    for shape in model.shapes.values():
        size = 1
        for side in shape:
            size *= side
        total += size
    return total
