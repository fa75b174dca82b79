"""Clipping by hand on rows of numbers, and that a row's bits are its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lmc_repro.config.run import ClipConfig
from lmc_repro.training.optimizer import clip

INF, NAN = float("inf"), float("nan")


def clipped(rows: Tensor, **limit: float) -> Tensor:
    result = rows.clone()
    clip(result, ClipConfig(**limit))
    return result


def test_norm_by_hand() -> None:
    rows = torch.tensor([[3.0, -4.0], [0.3, 0.4], [0.0, 0.0], [1.0, 0.0], [1e25, 0.0], [0.0, -1e-30]])
    expected = torch.tensor([[0.6, -0.8], [0.3, 0.4], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, -1e-30]])
    found = clipped(rows, norm=1.0)
    assert torch.allclose(found, expected, rtol=1e-6, atol=0.0)
    assert torch.equal(found[[1, 2, 3, 5]], rows[[1, 2, 3, 5]])  # below the limit, or at it: not a bit is touched
    assert clipped(rows, norm=10.0)[0].tolist() == [3.0, -4.0]
    assert clipped(torch.tensor([[3.0, 4.0]]), norm=2.5)[0].tolist() == [1.5, 2.0]


def test_value_by_hand() -> None:
    rows = torch.tensor([[3.0, -4.0, 0.5, -0.25], [-1e25, INF, NAN, 1.0]])
    assert clipped(rows, value=0.5)[0].tolist() == [0.5, -0.5, 0.5, -0.25]
    assert clipped(rows, value=0.5)[1, [0, 1, 3]].tolist() == [-0.5, 0.5, 0.5]
    assert clipped(rows, value=0.5)[1, 2].isnan()


@pytest.mark.parametrize("bad", [INF, -INF, NAN])
def test_a_row_that_is_not_finite_disturbs_no_other(bad: float) -> None:
    rows = torch.tensor([[3.0, 4.0], [1.0, bad], [6.0, 8.0]])
    found = clipped(rows, norm=1.0)
    assert torch.allclose(found[[0, 2]], torch.tensor([0.6, 0.8]), rtol=1e-6)
    assert found[1, 1].isnan()  # as torch: such a network is not rescued, it is recorded as diverged


def test_a_row_has_the_bits_that_it_has_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    for size in (16, 48, 144, 1040, 16400):
        rows = torch.randn(9, size, generator=generator) * torch.logspace(-4, 4, size)  # sums that show their order
        alone = torch.cat([clipped(row.unsqueeze(0), norm=1.0) for row in rows])
        for mates in ([0, 1], [4, 0], [2, 0, 5], [7, 8, 0], [0, 1, 2, 3, 4, 5, 6, 7], [8, 7, 6, 5, 4, 3, 2, 0]):
            assert torch.equal(clipped(rows[mates], norm=1.0), alone[mates]), (size, mates)
