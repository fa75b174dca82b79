"""Costs counted by hand: FLOPs, bytes in memory and on disk."""

from __future__ import annotations

import json

import psutil
import pytest
from helpers import ADAM, run_config
from small_study import PARAMS as SMALL

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.expand import plan_study
from lmc_repro.config.params import Params
from lmc_repro.engine.costs import (
    PROCESS_BYTES,
    SHARE,
    comparison_cost,
    estimate,
    path_cost,
    processes_that_fit,
    run_bytes,
    run_cost,
    run_flops,
    stack_bytes,
)

DIGITS = {"data": {"dataset": "digits"}}
INFO = dataset_info("digits")
WEIGHTS = 64 * 9 + 9 + 90 + 10


def test_flops() -> None:
    """64-9-10 on 899 images, 3 epochs: 2 FLOPs a weight forward, once backward for the first layer, twice above."""
    assert run_flops(run_config(**DIGITS), INFO) == 899 * 3 * (64 * 9 * 4 + 9 * 10 * 6)


def test_flops_of_a_path() -> None:
    """64 inputs, 16 units, 10 outputs: the first product twice, the second at each of 3 points, on 1,797 images."""
    config = run_config(**DIGITS, model={"kind": "mlp", "depth": 2, "width": 16, "slope": 1.0})
    flops, seconds = path_cost(config, INFO, 3, 1e9)
    assert flops == 1797 * (2 * 2 * 64 * 16 + 3 * 2 * 16 * 10)
    assert 0 < seconds < path_cost(config, INFO, 3, 1e-3)[1]


def test_pairs_are_compared_at_every_evaluation_epoch_but_the_one_where_they_are_one() -> None:
    study = plan_study(Params.model_validate(SMALL), "one")
    assert all(cell.pair_kind == "noise" and 0 in cell.runs[0].evaluate_at for cell in study.cells)
    expected = 0.0
    for cell in study.cells:
        one = path_cost(cell.runs[0], INFO, study.profile_config.points, 100.0)[0]
        expected += len(cell.pairs) * (len(cell.runs[0].evaluate_at) - 1) * one
    pairs, flops, _ = comparison_cost(study, 100.0)
    assert (pairs, flops) == (sum(len(cell.pairs) for cell in study.cells), expected)


def test_a_plane_costs_a_path_per_row() -> None:
    made = json.loads(json.dumps(SMALL))
    made["studies"]["one"]["base"]["plane"] = {"points": 9}
    study, plain = (plan_study(Params.model_validate(params), "one") for params in (made, SMALL))
    rows = sum(9 * path_cost(cell.runs[0], INFO, 9, 100.0)[0] for cell in study.cells)
    assert comparison_cost(study, 100.0)[1] == pytest.approx(comparison_cost(plain, 100.0)[1] + rows)


def test_estimate_adds_up_and_counts_bytes_on_disk() -> None:
    config = run_config(**DIGITS)
    cost = estimate([config, config], gflops=10.0)
    assert (cost.runs, cost.flops) == (2, 2 * run_flops(config, INFO))
    assert cost.disk_bytes == 2 * 3 * 4 * WEIGHTS  # three evaluation epochs of float32


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # weights, two gradients, scratch, momentum; an evaluation of 250 images: pixels, units before and after
        ({}, 4 * (5 * WEIGHTS + 250 * (64 + 2 * 19))),
        ({"optimizer": ADAM}, 4 * (6 * WEIGHTS + 250 * (64 + 2 * 19))),
        ({"batch_size": 5000}, 4 * (5 * WEIGHTS + 899 * (64 + 2 * 19))),  # larger than the data set: all of it
        # 16 patches of 4 pixels, 3 filters: 48 units twice with their gradients, logits
        (
            {"model": {"kind": "conv", "filters": 3, "kernel": 2}},
            4 * (5 * (3 * 4 + 3 + 480 + 10) + 250 * (64 + 64 + 4 * 48 + 2 * 10)),
        ),
    ],
)
def test_bytes_of_a_run(changes: dict[str, object], expected: int) -> None:
    config = run_config(**DIGITS, **changes)
    assert run_bytes(config, INFO) == expected
    assert stack_bytes(config, INFO, 3) == 3 * expected + 1797 * (64 + 8)


def test_what_is_no_matrix_product_costs_time_and_memory_too() -> None:
    """Attention's norms take longer than its products, and keep more than the weights."""
    attention = {"kind": "attention", "patch": 2, "heads": 4, "head_dim": 32}
    mlp = {"depth": 2, "width": 1024, "slope": 0.0}
    first, second = (run_config(**DIGITS, batch_size=100, model=model) for model in (attention, mlp))
    assert run_cost(first, INFO) > run_cost(second, INFO)
    assert run_bytes(first, INFO) > run_bytes(second, INFO)


def test_fewer_processes_where_the_largest_do_not_fit_side_by_side() -> None:
    half = int(SHARE * psutil.virtual_memory().available / 2)
    assert processes_that_fit([10, 10, 10], 2) == 2
    assert processes_that_fit([10, 2 * half], 2) == 1
    assert processes_that_fit([2 * half, 2 * half], 2) == 1
    assert processes_that_fit([10], 4) == 1
    assert half > PROCESS_BYTES
