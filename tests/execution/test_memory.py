"""What a stack holds in memory, counted by hand, and how many fit."""

from __future__ import annotations

import torch
from helpers import ADAM, SGD, run_config

from lmc_repro.execution.memory import (
    PROCESS_BYTES,
    STATE,
    StackMemory,
    free_bytes,
    side_by_side,
    stack_memory,
    state_buffers,
)
from lmc_repro.training.optimizer import build_optimizer

DIGITS = {"data": {"dataset": "digits"}}
IMAGES = 899 + 898


def test_a_network_counted_by_hand() -> None:
    """64-9-10, batch 10: weights, two gradients, scratch and momentum; pixels of a byte and labels of eight."""
    needs = stack_memory(run_config(**DIGITS))
    weights = 64 * 9 + 9 + 90 + 10
    assert needs.shared == IMAGES * (64 + 8)
    assert needs.weights == 4 * 5 * weights
    assert needs.batch == 4 * 10 * (64 + 2 * (9 + 10))
    assert (needs.evaluation_shared, needs.evaluation) == (4 * 250 * 64, 4 * 250 * 38)
    assert stack_memory(run_config(**DIGITS, optimizer=ADAM)).weights == 4 * 6 * weights


def test_patches_are_kept_beside_the_image() -> None:
    """16 patches of 4 pixels, 3 filters: 48 units twice with their gradients, logits."""
    needs = stack_memory(run_config(**DIGITS, model={"kind": "conv", "filters": 3, "kernel": 2}))
    assert needs.weights == 4 * 5 * (3 * 4 + 3 + 480 + 10)
    assert needs.batch == 4 * 10 * (64 + 64 + 4 * 48 + 2 * 10)


def test_a_batch_larger_than_the_data_set_is_the_data_set() -> None:
    assert stack_memory(run_config(**DIGITS, batch_size=5000)).batch == 4 * 899 * (64 + 38)


def test_training_and_evaluation_are_not_at_once() -> None:
    needs = StackMemory(shared=100, weights=10, batch=7, evaluation_shared=20, evaluation=5)
    assert needs.bytes(1) == 100 + 10 + 25
    assert needs.bytes(20) == 100 + 200 + 140  # 20 + 100 in an evaluation
    for limit in range(100, 500):
        fitting = needs.children(limit)
        assert fitting == 1 or needs.bytes(fitting) <= limit
        assert needs.bytes(fitting + 1) > limit


def test_fewer_processes_where_the_largest_do_not_fit_side_by_side() -> None:
    small, large = 10, 10**12
    two = 2 * PROCESS_BYTES
    assert side_by_side([small, small, small], 2, two + 20) == 2
    assert side_by_side([small, small, small], 2, two + 19) == 1
    assert side_by_side([small, large], 2, two + 20) == 1
    assert side_by_side([small, large], 2, None) == 2
    assert side_by_side([small], 4, None) == 1


def test_this_machine_has_some() -> None:
    free = free_bytes("cpu")
    assert free is not None and free > 2**20


def test_the_buffers_that_are_counted_are_those_that_an_optimizer_keeps() -> None:
    for optimizer in (SGD, ADAM):
        config = run_config(optimizer=optimizer)
        assert state_buffers(config) == len(build_optimizer(config.optimizer, torch.empty(1, 1)).state)
        assert config.optimizer.kind in STATE
