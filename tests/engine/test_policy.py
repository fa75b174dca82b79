"""The policy of `run_stacks` over losses: every row of the failure table on a fake engine, in milliseconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import run_config
from toy_engine import Here

from lmc_repro.common.errors import LmcError
from lmc_repro.engine.cluster import Cluster
from lmc_repro.engine.protocol import Ended, Lost, run_stacks
from lmc_repro.engine.task import StackTask
from lmc_repro.training.trainer import Event

NODE, WORKER = Lost("the machine is gone", blame=False), Lost("its worker died", blame=True)


class Fake(Here):
    """Ends each try of a stack as `outcomes` says by one of its runs: with an error, or with None; then well."""

    def __init__(self, **outcomes: list[BaseException | None]) -> None:
        super().__init__()
        self.outcomes = defaultdict[str, list[BaseException | None]](list, outcomes)
        self.tried = list[str]()

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        if not self.queue:
            return
        task = self.queue.pop(0)
        self.tried.append("".join(task.fingerprints))
        errors = [self.outcomes[name].pop(0) for name in task.fingerprints if self.outcomes[name]]
        error = next(filter(None, errors), None)
        if error is None:
            yield Event("done", task.fingerprints, 1)
        yield Ended(task, error)


def run(engine: Fake, *stacks: str) -> tuple[str, dict[str, str], str]:
    """Train stacks named by their runs, a letter each; return the finished ones, those given up and why, the error."""
    tasks = [StackTask(tuple((n, run_config()) for n in s), Path(), Path(), "resident", "", "cpu", 1.0) for s in stacks]
    events, error = list[Event](), ""
    try:
        run_stacks(engine, tasks, events.append)
    except LmcError as raised:
        error = str(raised)
    assert engine.stopped == 1
    done = "".join(sorted(name for event in events if event.kind == "done" for name in event.fingerprints))
    return done, {event.fingerprints[0]: event.note for event in events if event.kind == "given up"}, error


def test_a_lost_machine_is_not_the_tasks_fault_however_often() -> None:
    engine = Fake(a=[NODE] * 9)
    assert run(engine, "ab", "c") == ("abc", {}, "")
    assert engine.tried == ["ab", "c", *["ab"] * 9]


def test_a_dead_worker_counts_then_halves_then_single_runs() -> None:
    engine = Fake(a=[WORKER, WORKER, WORKER])
    assert run(engine, "abcde") == ("abcde", {}, "")
    assert engine.tried == ["abcde", "abcde", "abc", "de", "a", "b", "c"]


def test_lost_machines_do_not_count_among_dead_workers() -> None:
    engine = Fake(a=[WORKER, NODE, NODE, WORKER, NODE])
    assert run(engine, "ab") == ("ab", {}, "")
    assert engine.tried == ["ab"] * 4 + ["a", "b", "a"]


def test_a_poisoned_run_is_given_up_alone_and_its_mates_and_the_others_finish() -> None:
    engine = Fake(a=[WORKER] * 99)
    done, given_up, error = run(engine, "abc", "d")
    assert (done, given_up) == ("bcd", {"a": "its worker died"})
    assert error.startswith("1 of 4 runs")
    assert engine.tried == ["abc", "d", "abc", "ab", "c", "a", "b"]
    assert len(engine.outcomes["a"]) == 95


def test_two_poisoned_runs_are_named_each_by_itself() -> None:
    done, given_up, error = run(Fake(a=[WORKER] * 99, c=[WORKER] * 99), "ab", "cd")
    assert (done, given_up) == ("bd", {"a": "its worker died", "c": "its worker died"})
    assert error.startswith("2 of 4 runs")


def test_runs_that_finished_before_their_stack_was_lost_are_neither_tried_again_nor_given_up() -> None:
    class Partly(Fake):
        def poll(self, timeout: float) -> Iterator[Event | Ended]:
            for event in super().poll(timeout):
                if isinstance(event, Ended) and event.error and "b" in event.task.fingerprints:
                    yield Event("done", ("b",), 1)
                yield event

    engine = Partly(a=[WORKER])
    assert run(engine, "ab") == ("ab", {}, "")
    assert engine.tried == ["ab", "a"]
    engine = Partly(b=[WORKER])
    assert run(engine, "b") == ("b", {}, "")
    assert engine.tried == ["b"]


def test_an_error_that_is_no_loss_ends_all_at_once() -> None:
    """The first failure ends all, without another try, as LocalEngine's one line for a killed worker does."""
    engine = Fake(a=[LmcError("a worker process was ended from outside")])
    assert run(engine, "a", "b", "c") == ("", {}, "a worker process was ended from outside")
    assert engine.tried == ["a"]


def test_a_task_that_is_refused_before_it_begins_ends_all() -> None:
    class Refusing(Fake):
        def submit(self, task: StackTask) -> None:
            if "b" in task.fingerprints:
                raise LmcError("no machine can hold it")
            super().submit(task)

    engine = Refusing()
    assert run(engine, "a", "b") == ("", {}, "no machine can hold it")
    assert engine.tried == []


@pytest.mark.ray
def test_no_machine_left_is_said_once_waited_for_and_then_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("lmc_repro.engine.machines", reason="needs Ray: pip install 'lmc_repro[ray]'")
    machines, said, now = object.__new__(module.Machines), list[str](), [0.0]
    machines.cluster, machines._alone_since = Cluster("a:1", wait=2), None
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def wait(second: float, *memories: float) -> None:
        now[0], machines.alive = second, lambda: [module.Machine("id", "a machine", 1, memory) for memory in memories]
        machines.wait_for([5.0, 1.0], said.append)

    wait(0, 4.0, 5.0)
    assert said == []
    wait(10, 4.0)  # too small for what waits
    wait(129)
    assert len(said) == 1
    wait(130, 5.0)
    wait(200)
    wait(320, 4.9)
    assert len(said) == 2
    with pytest.raises(LmcError, match="no machine for 2 minutes; run again"):
        wait(321)
