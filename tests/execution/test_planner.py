"""Which runs share a stack, counted costs, and processes that tell their parent."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ADAM, PARAMS, SGD, run_config
from small_study import PARAMS as SMALL

from lmc_repro.data.catalog import dataset_info
from lmc_repro.execution.estimate import comparison_cost, estimate, path_cost, run_cost, run_flops
from lmc_repro.execution.memory import PROCESS_BYTES, stack_memory
from lmc_repro.execution.planner import CPU_STACK_CHILDREN, Work, plan_stacks
from lmc_repro.execution.pool import map_tasks
from lmc_repro.execution.task import StackTask
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.run import RunConfig
from lmc_repro.studies.expand import Choice, plan_study

HERE = Path("unused")


def work(count: int, name: str = "a", **changes: object) -> list[Work]:
    base = {"data": {"dataset": "digits"}, **changes}
    return [Work(f"{name}{i}", run_config(**base, seeds={"trainer": i, "loader": i}), "resident") for i in range(count)]


def plan(items: list[Work], jobs: int, device: str = "cpu", memory: int = 2**50) -> list[StackTask]:
    return plan_stacks(items, jobs, HERE, HERE, "portable", device, memory)


def sizes(tasks: list[StackTask]) -> list[int]:
    return [len(task.runs) for task in tasks]


def test_every_run_is_in_one_stack() -> None:
    items = work(7, "a") + work(5, "b", optimizer=ADAM) + work(9, "c", batch_size=20)
    tasks = plan(items, 3)
    assert sorted(fingerprint for task in tasks for fingerprint in task.fingerprints) == sorted(
        item.fingerprint for item in items
    )


def test_rates_and_warm_up_share_a_stack_and_nothing_else_does() -> None:
    alike = work(1, "a") + work(1, "b", optimizer={**SGD, "lr": 0.2}) + work(1, "c", schedule={"warmup_epochs": 1})
    assert sizes(plan(alike, 1)) == [3]
    others = [*alike, *work(1, "d", optimizer=ADAM), *work(1, "e", batch_size=11)]
    assert sorted(sizes(plan(others, 1))) == [1, 1, 3]


def test_runs_at_other_epochs_or_with_another_loader_train_apart() -> None:
    a, b, c = work(3)
    moved = Work(b.fingerprint, b.config, b.loader, epoch=2)
    streamed = Work(c.fingerprint, c.config, "ffcv")
    assert sizes(plan([a, moved, streamed], 1)) == [1, 1, 1]


def test_what_has_to_compile_first_is_begun_early() -> None:
    short, longer = work(1, "short")[0], work(1, "longer", epochs=5, evaluate_at=[5])[0]
    assert [task.fingerprints for task in plan([short, longer], 1)] == [("longer0",), ("short0",)]
    streamed = Work(short.fingerprint, short.config, "ffcv")
    assert [task.fingerprints for task in plan([streamed, longer], 1)] == [("short0",), ("longer0",)]


def test_what_is_sooner_trained_than_logged_is_begun_first() -> None:
    long = [*work(1, "long", epochs=9, evaluate_at=[9]), *work(1, "longer", epochs=99, evaluate_at=[99])]
    tasks = plan([*long, *work(16, "short")], 1)  # 3 epochs of one layer
    assert [task.fingerprints[0] for task in tasks] == ["short0", "longer0", "long0"]


def test_one_cell_is_shared_out_among_processes() -> None:
    assert sizes(plan(work(6), 2)) == [3, 3]
    assert sizes(plan(work(6), 1)) == [6]


def test_a_cell_that_takes_longer_than_all_others_is_shared_out_too() -> None:
    deep = work(12, "deep", model={"depth": 8, "width": 128, "slope": 0.0})
    shallow = work(12, "shallow", model={"depth": 2, "width": 16, "slope": 0.0})
    tasks = plan([*deep, *shallow], 2)
    assert [(task.fingerprints[0].rstrip("0123456789"), len(task.runs)) for task in tasks] == [
        ("shallow", 12),
        ("deep", 6),
        ("deep", 6),
    ]


def test_runs_near_their_end_count_for_what_is_left() -> None:
    near = [Work(item.fingerprint, item.config, item.loader, epoch=2) for item in work(6, "near")]  # of 3 epochs
    assert sorted(sizes(plan([*near, *work(4, "new")], 2))) == [2, 2, 6]
    ended = [Work(item.fingerprint, item.config, item.loader, epoch=3) for item in near]
    assert sizes(plan(ended, 2)) == [6]


def test_a_cpu_stack_stays_small_and_even() -> None:
    assert sizes(plan(work(20), 1)) == [10, 10]
    assert max(sizes(plan(work(100), 2))) <= CPU_STACK_CHILDREN
    assert sizes(plan(work(20), 1, device="cuda")) == [20]


def test_large_networks_train_in_smaller_stacks() -> None:
    wide = {"model": {"depth": 4, "width": 1024, "slope": 0.0}}
    config = work(1, **wide)[0].config
    assert stack_memory(config).weights > 40e6
    assert sizes(plan(work(4, **wide), 1)) == [1, 1, 1, 1]


def test_the_longest_stack_goes_first() -> None:
    tasks = plan(work(2, "a") + work(2, "b", epochs=50, evaluate_at=[50]), 1)
    assert [task.fingerprints[0] for task in tasks] == ["b0", "a0"]


def test_flops_counted_by_hand() -> None:
    """64-9-10 on 899 images, 3 epochs: 2 FLOPs a weight forward, once backward for the first layer, twice above."""
    config = run_config(data={"dataset": "digits"})
    assert run_flops(config, dataset_info("digits")) == 899 * 3 * (64 * 9 * 4 + 9 * 10 * 6)


def test_a_paths_flops_counted_by_hand() -> None:
    """64 inputs, 16 units, 10 outputs: the first product twice, the second at each of 3 points, on 1,797 images."""
    model = {"kind": "mlp", "depth": 2, "width": 16, "slope": 1.0}
    config = run_config(data={"dataset": "digits"}, model=model)
    flops, seconds = path_cost(config, dataset_info("digits"), 3, 1e9)
    assert flops == 1797 * (2 * 2 * 64 * 16 + 3 * 2 * 16 * 10)
    assert 0 < seconds < path_cost(config, dataset_info("digits"), 3, 1e-3)[1]


def test_pairs_are_compared_at_every_mark_but_the_one_where_they_are_one() -> None:
    study = plan_study(Params.model_validate(SMALL), "one")
    marks = {cell.key: len(cell.runs[0].evaluate_at) for cell in study.cells}
    one = {
        cell.key: path_cost(cell.runs[0], dataset_info("digits"), study.profile_config.points, 100.0)
        for cell in study.cells
    }
    expected = sum(len(cell.pairs) * (marks[cell.key] - 1) * one[cell.key][0] for cell in study.cells)
    pairs, flops, _ = comparison_cost(study, 100.0)
    assert (pairs, flops) == (sum(len(cell.pairs) for cell in study.cells), expected)
    assert all(cell.pair_kind == "noise" and 0 in cell.runs[0].evaluate_at for cell in study.cells)


def test_a_stack_without_memory_is_split_and_nothing_is_lost() -> None:
    """On a GPU one process has all of it; on a CPU each of two has half, less what torch takes."""
    needs = stack_memory(work(1)[0].config)
    for device, memory in (("cuda", needs.bytes(3)), ("cpu", 2 * (needs.bytes(3) + PROCESS_BYTES))):
        tasks = plan(work(8), 2, device, memory)
        assert sizes(tasks) == [3, 3, 2]
        assert [task.memory for task in tasks] == [needs.bytes(3), needs.bytes(3), needs.bytes(2)]
        assert sorted(f for task in tasks for f in task.fingerprints) == sorted(w.fingerprint for w in work(8))
    assert sizes(plan(work(2), 2, "cuda", 1)) == [1, 1]


def test_cells_that_differ_in_rate_or_warm_up_train_together() -> None:
    """Four cells of a table, as `params.yaml` has them, are two stacks: one a kind of optimizer."""
    study = plan_study(load_params(PARAMS), "table2", Choice(profile="digits", pairs=1))
    items = [Work(f"{cell.key} {i}", run, cell.loader) for cell in study.cells for i, run in enumerate(cell.runs)]
    tasks = plan(items, 1, "cuda")
    cells = [sorted({fingerprint.split()[0] for fingerprint in task.fingerprints}) for task in tasks]
    assert sizes(tasks) == [8, 8]
    assert sorted(cells) == [
        sorted(f"{row}--{optimizer}-{rate}" for row in ("constant", "warm-up") for rate in ("high", "medium"))
        for optimizer in ("adam", "sgd")
    ]


def test_what_is_no_matrix_product_costs_time_and_memory_too() -> None:
    """Attention's norms take longer than its products, and keep more than the weights."""
    attention = {"kind": "attention", "patch": 2, "heads": 4, "head_dim": 32}
    configs = [
        run_config(data={"dataset": "digits"}, batch_size=100, model=model)
        for model in (attention, {"depth": 2, "width": 1024, "slope": 0.0})
    ]
    info = dataset_info("digits")
    seconds, memory = [run_cost(c, info) for c in configs], [stack_memory(c).bytes(1) for c in configs]
    assert seconds[0] > seconds[1] and memory[0] > memory[1]


def test_estimate_adds_up_and_counts_bytes_on_disk() -> None:
    config = run_config(data={"dataset": "digits"})
    cost = estimate([config, config], gflops=10.0)
    parameters = 64 * 9 + 9 + 9 * 10 + 10
    assert cost.runs == 2
    assert cost.flops == 2 * run_flops(config, dataset_info("digits"))
    assert cost.disk_bytes == 2 * 3 * 4 * parameters  # three marks of float32


def test_tasks_are_computed_in_order_by_other_processes() -> None:
    assert list(map_tasks(abs, iter([-3, -1, -2, -5]), 2)) == [3, 1, 2, 5]
    assert list(map_tasks(abs, [], 2)) == []


def test_a_failing_task_raises_its_own_error() -> None:
    with pytest.raises(TypeError):
        list(map_tasks(abs, ["not a number"], 1))


def test_configs_travel_to_workers_unchanged() -> None:
    config = run_config(data={"dataset": "digits"})
    assert list(map_tasks(RunConfig.model_copy, [config], 1)) == [config]
