"""Gradients on their way into the stack's one buffer."""

from __future__ import annotations

import pytest
import torch

from lmc_repro.training.step import _put


@pytest.mark.parametrize("children", [1, 3])
@pytest.mark.parametrize("rows, columns", [(300, 257), (7, 5), (1, 1)])
@pytest.mark.parametrize("transposed", [True, False])
def test_every_element_reaches_its_place_and_nothing_else_is_touched(
    children: int, rows: int, columns: int, transposed: bool
) -> None:
    buffer = torch.full((children, rows * columns + 4), -1.0)
    target = buffer[:, 2:-2].view(children, rows, columns)
    values = torch.arange(children * rows * columns, dtype=torch.float32)
    gradient = values.view(children, columns, rows).mT if transposed else values.view(children, rows, columns)
    _put(gradient, target)
    for c in range(children):
        for i, j in ((0, 0), (rows - 1, 0), (0, columns - 1), (rows // 2, columns // 3), (rows - 1, columns - 1)):
            place = c * rows * columns + (j * rows + i if transposed else i * columns + j)
            assert target[c, i, j] == place
    assert torch.equal(target, gradient)
    assert torch.equal(buffer[:, [0, 1, -2, -1]], torch.full((children, 4), -1.0))
