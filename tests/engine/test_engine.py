"""The engine seam: the policy on a toy engine from outside, this machine's processes, and the task that they train."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset
from toy_engine import Here
from trained_store import write_prepared

from lmc_repro.common import signals
from lmc_repro.common.errors import Interrupted, LmcError
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.project import Project
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine import task as task_module
from lmc_repro.engine.local import WORKER_ENVIRONMENT, LocalEngine
from lmc_repro.engine.protocol import run_stacks
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.step import TrainStep
from lmc_repro.training.trainer import Event, train_stack


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.set_deterministic_debug_mode("default")


Stacks = Callable[[str], list[StackTask]]


@pytest.fixture
def stacks(tmp_path: Path, digits: Dataset) -> Stacks:
    """Three tasks of one run each."""
    write_prepared(Project(tmp_path), digits)
    config = run_config(data={"dataset": "digits"}, epochs=2, evaluate_at=[0, 2], batch_size=300)
    how = (tmp_path / "data" / "prepared", "resident", numerics_tag(), "cpu", 1.0)
    return lambda place: [StackTask(((str(i) * 16, config),), tmp_path / place, *how) for i in range(3)]  # type: ignore[arg-type]


def files(tasks: list[StackTask]) -> dict[str, bytes]:
    return {
        f"{fingerprint}/{name}": (task.working / fingerprint / name).read_bytes()
        for task in tasks
        for fingerprint in task.fingerprints
        for name in [*RunFolder(task.working / fingerprint).status()["files"], "status.json"]
    }


def test_an_engine_from_outside_makes_the_same_files(stacks: Stacks) -> None:
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


def test_a_failure_ends_the_others_and_is_raised(stacks: Stacks) -> None:
    tasks, engine = stacks("fail"), Here(fail="1" * 16)
    with pytest.raises(ValueError, match="1" * 16):
        run_stacks(engine, tasks, lambda event: None)
    assert engine.stopped == 1
    complete = [RunFolder(task.working / task.fingerprints[0]).is_complete() for task in tasks]
    assert complete == [True, False, False]


def test_an_interruption_here_stops_the_engine(stacks: Stacks) -> None:
    engine = Here()

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stacks(engine, stacks("interrupted"), interrupt)
    assert engine.stopped == 1


def test_what_is_queued_when_an_engine_stops_does_not_begin(stacks: Stacks) -> None:
    engine = LocalEngine(1)
    for task in stacks("queued"):
        engine.submit(task)
    engine.stop()
    assert [*engine.poll(30.0)] == []


def test_signals_act_after_the_block_that_holds_them_back() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise Interrupted(number)

    done, before = [], signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(Interrupted), signals.held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            done.append("all of it")
        assert done == ["all of it"] and signal.getsignal(signal.SIGINT) is interrupt
        with signals.held_back():
            done.append("no signal")
        assert len(done) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_tasks_are_computed_in_order_by_other_processes() -> None:
    assert list(LocalEngine(2).map(abs, iter([-3, -1, -2, -5]))) == [3, 1, 2, 5]
    assert list(LocalEngine(2).map(abs, [])) == []
    config = run_config(data={"dataset": "digits"})
    assert list(LocalEngine(1).map(RunConfig.model_copy, [config])) == [config]
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
def test_the_fork_server_blocks_ctrl_c_from_its_first_moment_and_there_is_one() -> None:
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, check=True)
    blocked = next(line for line in done.stdout.splitlines() if line.startswith("SigBlk:"))
    assert int(blocked.split()[1], 16) & 2  # bit of SIGINT
    assert done.stderr == ""
    assert {f"{name}={value}" for name, value in WORKER_ENVIRONMENT.items()} <= set(done.stdout.split())


def test_workers_have_their_variables_and_this_process_keeps_its_own() -> None:
    """Forked from a server that had them when its libraries were loaded: see the test of its start."""
    before = dict(os.environ)
    assert list(LocalEngine(1).map(os.getenv, WORKER_ENVIRONMENT)) == list(WORKER_ENVIRONMENT.values())
    assert dict(os.environ) == before


def test_an_operation_with_random_order_is_an_error_within_a_step(
    stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainStep.__call__

    def with_put(self: TrainStep, *arguments: Any) -> torch.Tensor:
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # which of the two is left?
        return step(self, *arguments)

    torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # torch lets it pass by itself
    monkeypatch.setattr(TrainStep, "__call__", with_put)
    with pytest.raises(RuntimeError, match="put_"):
        train_task(stacks("put")[0], lambda event: None)


def test_numerics_are_recorded_in_the_run_folder(stacks: Stacks) -> None:
    stack = stacks("numerics")[0]
    train_task(stack, lambda event: None)
    status = RunFolder(stack.working / stack.fingerprints[0]).status()
    assert status["numerics"] == numerics_tag()
    assert status["torch"] == torch.__version__.split("+")[0]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["portable", "native"])
def test_the_mode_is_what_torch_then_uses(mode: str) -> None:
    """In a process of its own: a mode is chosen once."""
    program = (
        "from lmc_repro.common.numerics import choose_mode, numerics_tag\n"
        f"chosen, remark = choose_mode('{mode}')\n"
        "import torch\n"
        "print(chosen, numerics_tag(), torch.backends.cpu.get_cpu_capability())\n"
    )
    unset = ("LMC_NUMERICS", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")
    command = ["env", *(f"--unset={name}" for name in unset), sys.executable, "-c", program]
    chosen, tag, capability = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert tag.split(":")[0] == chosen
    if chosen == "portable":
        assert capability == "AVX2"
    else:
        assert tag.split(":")[2] == capability


def prepare_task(children: int, fits: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StackTask, list[int]]:
    """Return a task on the CPU, and the sizes that are tried; more than `fits` children raise what CUDA raises."""
    tried: list[int] = []

    def tight(stack: list[Any], *arguments: Any) -> None:
        tried.append(len(stack))
        if len(stack) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        train_stack(stack, *arguments)

    monkeypatch.setattr(task_module, "train_stack", tight)
    monkeypatch.setattr(task_module, "load_dataset", lambda prepared, name: tiny_dataset())
    runs = tuple((f"run{i}", run_config(seeds={"loader": i})) for i in range(children))
    return StackTask(runs, root, root, "resident", "portable", "cpu", 0.0), tried


def test_a_stack_that_the_gpu_has_no_memory_for_is_trained_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, tried = prepare_task(5, 2, tmp_path, monkeypatch)
    train_task(task, lambda event: None)
    assert tried == [5, 2, 3, 1, 2]
    assert all((tmp_path / fingerprint / "status.json").is_file() for fingerprint in task.fingerprints)


def test_one_that_does_not_fit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, tried = prepare_task(2, 0, tmp_path, monkeypatch)
    with pytest.raises(LmcError, match="no memory for run run0 alone"):
        train_task(task, lambda event: None)
    assert tried == [2, 1]
