"""A Ray cluster of one node against this machine's processes, at equal cores; empty tasks; results sent home."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.options import Options, cores
from benchmarks.spread import spread

RUN_MB = 23
"""A run of the minimal network with the checkpoints of 14 evaluations."""


def measure(part: str, options: Options) -> dict[str, Any]:
    """Return the rates of part `rates`, else the ratio of wall times of `digits` or `mnist`; None without Ray."""
    if find_spec("ray") is None:
        return {f"ray_{part}": None}
    folder = Path(tempfile.mkdtemp(prefix="lmc"))  # sockets have short names
    try:
        with _cluster(folder) as address:
            from lmc_repro.engine.cluster import Cluster
            from lmc_repro.engine.ray import RayEngine

            engine = RayEngine(Cluster(address), "cpu", print)
            return _rates(engine, folder, options) if part == "rates" else _ratio(part, engine, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """Start a node with all cores of this machine, and yield its address."""
    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ.setdefault("RAY_AUTH_TOKEN", os.urandom(32).hex())  # Ray reads it once per process
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_TMPDIR": str(folder),
        "RAY_worker_niceness": "0",  # as that of local processes; Ray gives its own 15
        "PYTHONPATH": os.pathsep.join(paths),
    }
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": cores(), "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def _rates(engine: Any, folder: Path, options: Options) -> dict[str, Any]:
    few, small, large = (20, 20, 2) if options.quick else (1000, 1000, 10)
    _seconds(lambda: list(engine.map(abs, range(few))))
    laps = [_seconds(lambda: list(engine.map(abs, range(few)))) for _ in range(options.repeats)]
    letters = [_home(engine, small, 0, folder) for _ in range(options.repeats)]
    results = [RUN_MB * _home(engine, large, RUN_MB * 10**6, folder) for _ in range(options.repeats)]
    return {
        "ray_tasks_per_second": spread([few / lap for lap in laps]),
        "ray_letters_per_second": spread(letters),
        "ray_mb_per_second": spread(results),
    }


def _ratio(dataset: str, engine: Any, folder: Path, options: Options) -> dict[str, Any]:
    from lmc_repro.engine.local import LocalEngine

    make = _stacks(dataset, folder, options)
    turns: dict[str, list[float]] = {"local": [], "ray": []}
    for turn in range(options.repeats + 1):  # the first imports torch in every worker
        for way, made in (("local", LocalEngine(cores())), ("ray", engine)):
            lap = _train(made, make())
            turns[way] += [lap] if turn else []
    seconds = {way: spread(laps) for way, laps in turns.items()}
    ratio = seconds["ray"]["median"] / seconds["local"]["median"]
    return {f"ray_{dataset}_ratio": ratio, f"ray_{dataset}_seconds": seconds}


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _home(engine: Any, count: int, size: int, folder: Path) -> float:
    """Return the letters per second, of `size` bytes each, that a worker sends and this process writes to its disk."""
    import ray

    from lmc_repro.common.files import write_atomic
    from lmc_repro.engine.machines import submitted
    from lmc_repro.engine.ray import _push
    from lmc_repro.engine.remote import Mailbox

    mailbox = ray.remote(Mailbox).options(num_cpus=0).remote()
    done = submitted(_write_letters, num_cpus=1).remote(_push, mailbox, 10, size)
    ray.get(done)
    ray.get(mailbox.take.remote())
    sent, begun = submitted(_write_letters, num_cpus=1).remote(_push, mailbox, count, size), time.perf_counter()
    left = count
    while left:
        ray.wait([sent], timeout=0.0 if size else 0.2)
        for letter in ray.get(mailbox.take.remote()):
            for files in letter.folders.values():
                for name, content in files.items():
                    write_atomic(folder / name, content)
            left -= 1
    rate = count / (time.perf_counter() - begun)
    ray.kill(mailbox)
    return rate


def _write_letters(push: Callable[..., bool], mailbox: Any, count: int, size: int) -> None:
    from lmc_repro.engine.remote import Letter
    from lmc_repro.training.trainer import Event

    for _ in range(count):
        folders = {"run": {f"epoch-{i}": os.urandom(size // 14) for i in range(14)}} if size else {}
        push(mailbox, Letter(0, "a machine", (Event("epoch", ("run",), 1),), folders))


def _stacks(dataset: str, folder: Path, options: Options) -> Callable[[], list[Any]]:
    """Return a function that makes two untrained stacks: of 16 digits runs, or of one MNIST run; seconds of a core."""
    from safetensors.torch import save_file

    from benchmarks.data import mnist
    from lmc_repro.common.numerics import numerics_tag
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.config.run import RunConfig
    from lmc_repro.data.dataset import data_digest
    from lmc_repro.data.readers import read_arrays
    from lmc_repro.data.status import write_status
    from lmc_repro.engine.task import StackTask

    prepared = folder / "prepared"
    if dataset == "mnist" and not options.quick:
        splits = (mnist().train, mnist().test)
    else:
        dataset = "digits"
        splits = read_arrays(dataset_info("digits"), folder)
    if not (prepared / dataset).is_dir():
        (prepared / dataset).mkdir(parents=True)
        for name, split in zip(("train", "test"), splits, strict=True):
            save_file({"images": split.images, "labels": split.labels}, prepared / dataset / f"{name}.safetensors")
        write_status(prepared / dataset, {"state": "ready", "digest": data_digest(*splits)})
    width, batch, epochs, runs = (512, 1024, 4, 1) if dataset == "mnist" else (128, 64, 40, 16)
    epochs = 2 if options.quick else epochs

    def config(seed: int) -> RunConfig:
        return RunConfig.model_validate(
            {
                "data": {"dataset": dataset},
                "model": {"kind": "mlp", "depth": 2, "width": width, "slope": 0.0},
                "optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.9},
                "batch_size": batch,
                "epochs": epochs,
                "evaluate_at": [0, epochs // 2, epochs],
                "seeds": {"trainer": seed, "loader": seed},
            }
        )

    def make() -> list[StackTask]:
        working = Path(tempfile.mkdtemp(dir=folder))
        how = (working, prepared, "resident", numerics_tag(), "cpu", 1.0, 10**8)
        return [
            StackTask(tuple((f"run{i}", config(i)) for i in range(first, first + runs)), *how)  # type: ignore[arg-type]
            for first in range(0, 2 * runs, runs)
        ]

    return make


def _train(engine: Any, tasks: list[Any]) -> float:
    from lmc_repro.engine.protocol import run_stacks

    seconds = _seconds(lambda: run_stacks(engine, tasks, lambda event: None))
    shutil.rmtree(tasks[0].working)
    return seconds
