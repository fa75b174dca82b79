"""The engine seam: the policy on a toy engine from outside, and this machine's processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import run_config
from toy_engine import Here
from trained_store import write_prepared

from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.project import Project
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine.local import WORKER_ENVIRONMENT, LocalEngine
from lmc_repro.engine.protocol import run_stacks
from lmc_repro.engine.task import StackTask
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def stacks(tmp_path: Path, digits: Dataset) -> Callable[[str], list[StackTask]]:
    write_prepared(Project(tmp_path), digits)
    config = run_config(data={"dataset": "digits"}, epochs=2, evaluate_at=[0, 2], batch_size=300)
    prepared = tmp_path / "data" / "prepared"

    def make(place: str) -> list[StackTask]:
        return [
            StackTask(((str(i) * 16, config),), tmp_path / place, prepared, "resident", numerics_tag(), "cpu", 1.0)
            for i in range(3)
        ]

    return make


def files(tasks: list[StackTask]) -> dict[str, bytes]:
    return {
        f"{fingerprint}/{name}": (task.working / fingerprint / name).read_bytes()
        for task in tasks
        for fingerprint in task.fingerprints
        for name in [*RunFolder(task.working / fingerprint).status()["files"], "status.json"]
    }


def test_an_engine_from_outside_makes_the_same_files(stacks: Callable[[str], list[StackTask]]) -> None:
    found: dict[str, dict[str, bytes]] = {}
    for place, engine in (("local", LocalEngine(2)), ("toy", toy := Here())):
        events: list[Event] = []
        run_stacks(engine, tasks := stacks(place), events.append)
        done = sorted(f for event in events if event.kind == "done" for f in event.fingerprints)
        assert done == ["0" * 16, "1" * 16, "2" * 16]
        assert sum(event.kind == "epoch" for event in events) == 6
        found[place] = files(tasks)
    assert found["local"] == found["toy"]
    assert len(found["toy"]) == 3 * 5
    assert toy.stopped == 1


def test_a_failure_ends_the_others_and_is_raised(stacks: Callable[[str], list[StackTask]]) -> None:
    tasks, engine = stacks("fail"), Here(fail="1" * 16)
    with pytest.raises(ValueError, match="1" * 16):
        run_stacks(engine, tasks, lambda event: None)
    assert engine.stopped == 1
    complete = [RunFolder(task.working / task.fingerprints[0]).is_complete() for task in tasks]
    assert complete == [True, False, False]


def test_an_interruption_here_stops_the_engine(stacks: Callable[[str], list[StackTask]]) -> None:
    engine = Here()

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stacks(engine, stacks("interrupted"), interrupt)
    assert engine.stopped == 1


def test_tasks_are_computed_in_order_by_other_processes() -> None:
    assert list(LocalEngine(2).map(abs, iter([-3, -1, -2, -5]))) == [3, 1, 2, 5]
    assert list(LocalEngine(2).map(abs, [])) == []
    config = run_config(data={"dataset": "digits"})
    assert list(LocalEngine(1).map(RunConfig.model_copy, [config])) == [config]


def test_a_failing_task_raises_its_own_error() -> None:
    with pytest.raises(TypeError):
        list(LocalEngine(1).map(abs, ["not a number"]))


SERVER = """
import os, signal
from multiprocessing import forkserver
from lmc_repro.engine.local import worker_context

def own(number, frame): ...
signal.signal(signal.SIGINT, own)
before = dict(os.environ)
worker_context()
assert signal.getsignal(signal.SIGINT) is own and dict(os.environ) == before
number = forkserver._forkserver._forkserver_pid
worker_context()
assert forkserver._forkserver._forkserver_pid == number
print(open(f"/proc/{number}/status").read())
import time
for _ in range(100):  # until it has been started with them
    environment = open(f"/proc/{number}/environ").read()
    if "MALLOC_TRIM" in environment:
        break
    time.sleep(0.05)
print(environment.replace("\\0", "\\n"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_the_fork_server_ignores_ctrl_c_from_its_first_moment_and_there_is_one() -> None:
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, check=True)
    ignored = next(line for line in done.stdout.splitlines() if line.startswith("SigIgn:"))
    assert int(ignored.split()[1], 16) & 2  # bit of SIGINT
    assert done.stderr == ""
    assert {f"{name}={value}" for name, value in WORKER_ENVIRONMENT.items()} <= set(done.stdout.split())


def test_workers_have_their_variables_and_this_process_keeps_its_own() -> None:
    """Forked from a server that had them when its libraries were loaded: see the test of its start."""
    before = dict(os.environ)
    assert list(LocalEngine(1).map(os.getenv, WORKER_ENVIRONMENT)) == list(WORKER_ENVIRONMENT.values())
    assert dict(os.environ) == before
