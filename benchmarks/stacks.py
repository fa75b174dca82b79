"""Many small runs: digits networks in stacks, as the planner makes them, against one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.options import Options

CHILDREN, WIDTH, BATCH = 32, 128, 64
HEADLINE = "2-layer"


def measure(options: Options) -> dict[str, Any]:
    """Return `stack_ratio`, of 2 layers, and under `stacks` ratio and CPU seconds by depth; one process, one thread."""
    from lmc_repro.engine.stacks import CPU_STACK_RUNS

    stacks = {}
    for depth in (2,) if options.quick else (1, 2, 4, 8):
        given = {"depth": depth, "children": 4 if options.quick else CHILDREN}
        ways = {
            "one_by_one": [Task("benchmarks.stacks:epochs", {**given, "size": 1})],
            "stacked": [Task("benchmarks.stacks:epochs", {**given, "size": CPU_STACK_RUNS})],
        }
        # One thread: on a quiet machine these are the clock's seconds, on a shared one they still compare.
        seconds = {way: found["cpu_seconds"] for way, found in take_turns(ways, options.repeats).items()}
        stacks[f"{depth}-layer"] = {
            "ratio": seconds["one_by_one"]["median"] / seconds["stacked"]["median"],
            "cpu_seconds": seconds,
        }
    return {"stack_ratio": stacks[HEADLINE]["ratio"], "stacks": stacks}


def epochs(depth: int, children: int, size: int) -> Callable[[], None]:
    """Return an epoch of `children` runs on digits (15 steps of 64 images), in stacks of at most `size`."""
    from pathlib import Path

    from benchmarks import ours
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.data.dataset import Dataset
    from lmc_repro.data.readers import read_arrays

    info = dataset_info("digits")
    dataset = Dataset(info, *read_arrays(info, Path("unused")), "")
    shape = {"kind": "mlp", "depth": depth, **({"width": WIDTH, "slope": 0.0} if depth > 1 else {})}
    configs = [ours.run_config("digits", shape, BATCH, seed) for seed in range(children)]
    return ours.epochs([configs[i : i + size] for i in range(0, children, size)], dataset, Path("unused"))
