"""The rate of every step of a tiny run, worked out by hand: 3 epochs of 2 steps."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import run_config

from lmc_repro.training.schedule import learning_rates

COS30, COS45 = 3**0.5 / 2, 2**0.5 / 2

RATES: list[tuple[dict[str, Any], list[float]]] = [
    ({}, [1, 1, 1, 1, 1, 1]),
    ({"warmup_epochs": 1}, [0, 1 / 2, 1, 1, 1, 1]),
    ({"warmup_epochs": 2}, [0, 1 / 4, 2 / 4, 3 / 4, 1, 1]),
    ({"warmup_epochs": 1, "warmup_rule": "from-first-step"}, [1 / 2, 1, 1, 1, 1, 1]),
    ({"warmup_epochs": 3, "warmup_rule": "from-first-step"}, [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1]),
    ({"warmup_rule": "from-first-step"}, [1, 1, 1, 1, 1, 1]),  # no warm-up: no rule
    ({"kind": "cosine"}, [1, (1 + COS30) / 2, 3 / 4, 1 / 2, 1 / 4, (1 - COS30) / 2]),
    ({"kind": "cosine", "warmup_epochs": 1}, [0, 1 / 2, 1, (1 + COS45) / 2, 1 / 2, (1 - COS45) / 2]),
    ({"kind": "cosine", "warmup_epochs": 2, "warmup_rule": "from-first-step"}, [1 / 4, 2 / 4, 3 / 4, 1, 1, 1 / 2]),
    ({"kind": "cosine", "warmup_epochs": 3}, [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]),
]


@pytest.mark.parametrize(("schedule", "expected"), RATES, ids=[str(schedule) for schedule, _ in RATES])
def test_every_step(schedule: dict[str, Any], expected: list[float]) -> None:
    config = run_config(schedule=schedule, optimizer={"lr": 0.4}, epochs=3)
    found = [learning_rates([config], step, steps_per_epoch=2)[0] for step in range(6)]
    assert found == pytest.approx([0.4 * share for share in expected], rel=1e-12, abs=1e-16)


def test_children_differ_in_all_of_it() -> None:
    configs = [run_config(schedule=schedule, optimizer={"lr": 0.1 * (i + 1)}) for i, (schedule, _) in enumerate(RATES)]
    for step in range(6):
        expected = [0.1 * (i + 1) * shares[step] for i, (_, shares) in enumerate(RATES)]
        assert list(learning_rates(configs, step, 2)) == pytest.approx(expected, rel=1e-12, abs=1e-16)
