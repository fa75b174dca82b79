"""Stacks: which runs share one, their sizes and their order, on configs alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ADAM, PARAMS, SGD, run_config

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.engine.costs import run_bytes
from lmc_repro.engine.stacks import CPU_STACK_BYTES, CPU_STACK_RUNS, QueuedRun, plan_stacks
from lmc_repro.engine.task import StackTask

HERE = Path("unused")
DEEP = {"depth": 8, "width": 128, "slope": 0.0}
WIDE = {"depth": 4, "width": 1024, "slope": 0.0}


def work(count: int, name: str = "a", epoch: int = 0, loader: str = "resident", **changes: object) -> list[QueuedRun]:
    base = {"data": {"dataset": "digits"}, **changes}
    return [
        QueuedRun(f"{name}{i}", run_config(**base, seeds={"trainer": i, "loader": i}), loader, epoch)  # type: ignore[arg-type]
        for i in range(count)
    ]


def plan(items: list[QueuedRun], jobs: int, device: str = "cpu") -> list[StackTask]:
    return plan_stacks(items, jobs, HERE, HERE, "portable", device)


def sizes(tasks: list[StackTask]) -> list[int]:
    return [len(task.runs) for task in tasks]


def test_every_run_is_in_one_stack() -> None:
    items = work(7, "a") + work(5, "b", optimizer=ADAM) + work(9, "c", batch_size=20)
    planned = [fingerprint for task in plan(items, 3) for fingerprint in task.fingerprints]
    assert sorted(planned) == sorted(item.fingerprint for item in items)


ALIKE = work(1, "a") + work(1, "b", optimizer={**SGD, "lr": 0.2}) + work(1, "c", schedule={"warmup_epochs": 1})


@pytest.mark.parametrize(
    ("items", "jobs", "device", "expected"),
    [
        (ALIKE, 1, "cpu", [3]),  # rates and warm-up may differ
        ([*ALIKE, *work(1, "d", optimizer=ADAM), *work(1, "e", batch_size=11)], 1, "cpu", [1, 1, 3]),
        (work(1, "a") + work(1, "b", epoch=2) + work(1, "c", loader="ffcv"), 1, "cpu", [1, 1, 1]),
        (work(6), 2, "cpu", [3, 3]),  # shared out among processes
        (work(6), 1, "cpu", [6]),
        (work(12, "deep", model=DEEP) + work(12, "shallow"), 2, "cpu", [6, 6, 12]),
        (work(6, "near", epoch=2) + work(4, "new"), 2, "cpu", [2, 2, 6]),  # of 3 epochs: what is left counts
        (work(6, "ended", epoch=3), 2, "cpu", [6]),
        (work(20), 1, "cpu", [10, 10]),
        (work(20), 1, "cuda", [20]),
        (work(4, model=WIDE), 1, "cpu", [1, 1, 1, 1]),
    ],
)
def test_sizes_of_stacks(items: list[QueuedRun], jobs: int, device: str, expected: list[int]) -> None:
    assert sorted(sizes(plan(items, jobs, device))) == expected


def test_a_cpu_stack_stays_in_the_caches() -> None:
    assert max(sizes(plan(work(100), 2))) <= CPU_STACK_RUNS
    assert run_bytes(work(1, model=WIDE)[0].config, dataset_info("digits")) > CPU_STACK_BYTES / 2


def test_the_longest_stack_goes_first_and_ffcv_compiles_before_it_begins() -> None:
    tasks = plan(work(2, "a") + work(2, "b", epochs=9, evaluate_at=[9]) + work(1, "c", loader="ffcv"), 1)
    assert [task.fingerprints[0] for task in tasks] == ["c0", "b0", "a0"]


def test_cells_that_differ_in_rate_or_warm_up_train_together() -> None:
    """Four cells of a table, as `params.yaml` has them, are two stacks: one per kind of optimizer."""
    study = plan_study(load_params(PARAMS), "table2", Choice(profile="digits", pairs=1))
    items = [QueuedRun(f"{cell.key} {i}", run, cell.loader) for cell in study.cells for i, run in enumerate(cell.runs)]
    tasks = plan(items, 1, "cuda")
    cells = [sorted({fingerprint.split()[0] for fingerprint in task.fingerprints}) for task in tasks]
    assert sizes(tasks) == [8, 8]
    assert sorted(cells) == [
        sorted(f"{row}--{optimizer}-{rate}" for row in ("constant", "warm-up") for rate in ("high", "medium"))
        for optimizer in ("adam", "sgd")
    ]
