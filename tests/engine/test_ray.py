"""A Ray cluster of two nodes on this machine: the bytes of this machine's processes, whatever dies on the way."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers import contents, run_config
from trained_store import write_prepared
from two_nodes import MEMORY, TwoNodes, two_nodes

from lmc_repro.barriers.pair import PairEnd, pair_task
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine import remote
from lmc_repro.engine.local import LocalEngine
from lmc_repro.engine.protocol import TRIES, run_stacks
from lmc_repro.engine.remote import Letter
from lmc_repro.engine.task import StackTask
from lmc_repro.maintenance.doctor import check_cluster
from lmc_repro.report.figures import measure_and_draw
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'lmc_repro[ray]'"),
]

HERE = Path(__file__).parent
EPOCHS = 6


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    with two_nodes() as nodes:
        yield nodes


Stacks = Callable[..., list[StackTask]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_prepared(Project(root), digits)
    return Project(root).prepared


@pytest.fixture
def stacks(tmp_path: Path, prepared: Path) -> Stacks:
    """Stacks named by their runs, a word each, in a folder of their own; a callback of `on_workers.py`."""

    def make(*named: str, place: str = "ray", callback: str = "quick") -> list[StackTask]:
        def run(name: str) -> tuple[str, Any]:
            seeds = {"loader": sum(name.encode())}
            config = run_config(data={"dataset": "digits"}, epochs=EPOCHS, evaluate_at=range(EPOCHS + 1), seeds=seeds)
            return name, config.model_copy(update={"batch_size": 300})

        runs = [tuple(map(run, names.split())) for names in named]
        how = (tmp_path / place, prepared, "resident", numerics_tag(), "cpu", 1.0, 10**6)
        return [StackTask(some, *how, callbacks=(f"{HERE / 'on_workers.py'}:{callback}",)) for some in runs]  # type: ignore[arg-type]

    return make


def trained(engine: Any, tasks: list[StackTask], on_event: Callable[[Event], None] = lambda event: None) -> list[Event]:
    events: list[Event] = []

    def both(event: Event) -> None:
        events.append(event)
        on_event(event)

    run_stacks(engine, tasks, both)
    return events


def files(tasks: list[StackTask]) -> dict[str, dict[str, bytes]]:
    return {name: contents(task.working / name) for task in tasks for name in task.fingerprints}


@pytest.fixture
def local(stacks: Stacks) -> Callable[..., dict[str, dict[str, bytes]]]:
    """The folders of this machine's processes."""

    def make(*named: str) -> dict[str, dict[str, bytes]]:
        run_stacks(LocalEngine(1), tasks := stacks(*named, place="local"), lambda event: None)
        return files(tasks)

    return make


def test_folders_are_those_of_this_machine(nodes: TwoNodes, stacks: Stacks, local: Any) -> None:
    events = trained(nodes.engine(), tasks := stacks("a b", "c", "d"))
    assert files(tasks) == local("a b", "c", "d")
    done = sorted(name for event in events if event.kind == "done" for name in event.fingerprints)
    assert done == ["a", "b", "c", "d"]
    assert sum(len(event.fingerprints) for event in events if event.kind == "epoch") == 4 * EPOCHS
    assert all(not list(task.working.glob("*.holder")) for task in tasks)


def test_a_node_killed_on_the_way_costs_time_only(nodes: TwoNodes, stacks: Stacks, local: Any) -> None:
    def kill(event: Event) -> None:
        if event.kind == "saved" and nodes.second is not None:
            nodes.kill_second()

    events = trained(nodes.engine(), tasks := stacks("a b", "c d", callback="slow"), kill)
    assert files(tasks) == local("a b", "c d")
    assert nodes.second is None
    epochs = [(name, event.epoch) for event in events if event.kind == "epoch" for name in event.fingerprints]
    assert len(set(epochs)) == len(epochs)  # none is counted twice
    assert {(name, EPOCHS) for name in "abcd"} <= set(epochs)


def test_a_worker_killed_on_the_way_costs_time_only(nodes: TwoNodes, stacks: Stacks, local: Any) -> None:
    trained(nodes.engine(), tasks := stacks("a b", callback="deadly_once"))
    assert (Path(os.environ["TMPDIR"]) / "died once").exists()
    assert files(tasks) == local("a b")


def test_a_poisoned_run_is_given_up_and_all_others_finish(nodes: TwoNodes, stacks: Stacks, local: Any) -> None:
    tasks, events = stacks("dead b", "c", callback="deadly"), list[Event]()
    with pytest.raises(LmcError, match="1 of 3 runs"):
        run_stacks(nodes.engine(), tasks, events.append)
    assert [event.fingerprints for event in events if event.kind == "given up"] == [("dead",)]
    good = local("b", "c")
    assert {name: found for name, found in files(tasks).items() if name != "dead"} == good
    assert not RunFolder(tasks[0].working / "dead").is_complete()


def test_a_killed_driver_goes_on_where_it_was(nodes: TwoNodes, stacks: Stacks, local: Any, tmp_path: Path) -> None:
    engine, tasks = nodes.engine(), stacks("a b", callback="slow")
    (tmp_path / "tasks").write_bytes(pickle.dumps(tasks))
    words = [sys.executable, str(HERE / "driver.py"), nodes.address, str(tmp_path / "tasks")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        next(line for line in driver.stdout if "saved" in line)
        driver.kill()
    assert not RunFolder(tasks[0].working / "a").is_complete()
    events = trained(engine, tasks)
    assert files(tasks) == local("a b")
    assert next(event.epoch for event in events if event.kind == "epoch") > 1


def test_an_interruption_here_saves_states_and_the_same_engine_goes_on(
    nodes: TwoNodes, stacks: Stacks, local: Any
) -> None:
    engine, tasks = nodes.engine(), stacks("a b", "c", callback="slow")

    def interrupt(event: Event) -> None:
        if "a" in event.fingerprints:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stacks(engine, tasks, interrupt)
    assert all(files(tasks)[name].keys() >= {"progress.json"} for name in ("a", "b"))
    events = trained(engine, tasks)
    assert files(tasks) == local("a b", "c")
    assert min(event.epoch for event in events if event.kind == "epoch" and "a" in event.fingerprints) > 1


def test_letters_of_a_machine_that_counted_as_lost(nodes: TwoNodes, stacks: Stacks, local: Any) -> None:
    """A whole result is used, once; one of another run is refused, and nothing outside the store is written."""
    engine, tasks, made = nodes.engine(), stacks("a", "b", callback="slow"), local("a", "b")
    sent = list[bool]()

    def zombie(event: Event) -> None:
        if event.kind == "epoch" and event.fingerprints == ("a",) and not sent:
            sent.append(True)
            engine._letters.append(Letter(99, "a zombie", (Event("done", ("a",), EPOCHS),), {"a": made["a"]}))
            engine._letters.append(Letter(99, "a zombie", (Event("epoch", ("a",), 5),), {}))

    events = trained(engine, tasks, zombie)
    assert sent and files(tasks) == made
    assert sorted(event.fingerprints for event in events if event.kind == "done") == [("a",), ("b",)]

    for name in ("../stolen", "stranger"):
        tasks = stacks("c", place="other")
        engine = nodes.engine()
        engine._letters.append(Letter(99, "a stranger", (), {name: made["a"]}))
        before = set(tasks[0].working.parent.iterdir())
        with pytest.raises(LmcError, match="a stranger"):
            run_stacks(engine, tasks, lambda event: None)
        assert set(tasks[0].working.parent.iterdir()) - before <= {tasks[0].working}


def test_a_node_with_other_numerics_is_refused_before_work(nodes: TwoNodes) -> None:
    third = nodes.add(env_vars={"LMC_OPENBLAS_CORETYPE": "SkylakeX"})
    try:
        with pytest.raises(LmcError, match=r"numerics: found portable:.*SkylakeX"):
            nodes.engine()
    finally:
        nodes.cluster.remove_node(third)


def test_a_worker_that_dies_as_it_is_asked_is_asked_again(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    machines, died = nodes.engine().machines, Path(os.environ["TMPDIR"]) / "died as it was asked"

    def probe(device: str) -> str:
        if not died.exists():
            died.touch()
            os._exit(1)
        return f"an answer about {device}"

    monkeypatch.setattr(remote, "probe", probe)
    assert list(machines.identities().values()) == ["an answer about cpu"] * 2


def test_a_task_that_no_node_can_hold_is_refused_at_once(nodes: TwoNodes, stacks: Stacks) -> None:
    engine, (small, large) = nodes.engine(), stacks("a", "b")
    begun = time.monotonic()
    with pytest.raises(LmcError, match=r"run b: .* memory"):
        run_stacks(engine, [small, replace(large, memory=MEMORY)], lambda event: None)
    assert time.monotonic() < begun + 5
    assert not small.working.exists()


def test_bf16_is_refused_since_machines_may_round_and_add_in_other_ways(nodes: TwoNodes, stacks: Stacks) -> None:
    (task,) = stacks("a")
    ((name, config),) = task.runs
    with pytest.raises(LmcError, match="precision"):
        nodes.engine().submit(replace(task, runs=((name, config.model_copy(update={"precision": "bf16"})),)))


def test_a_cluster_without_machines_is_waited_for_and_then_left(
    nodes: TwoNodes, stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = nodes.engine(wait=0.02)
    monkeypatch.setattr(engine.machines, "alive", lambda: ())
    monkeypatch.setattr(engine, "_receive", lambda letter: iter(()))  # or it would see that they live
    with pytest.raises(LmcError, match="run again"):
        run_stacks(engine, stacks("a", callback="slow"), lambda event: None)
    assert len(nodes.said) == 1


def test_paths_are_those_of_this_machine_in_order(nodes: TwoNodes, stacks: Stacks, local: Any, prepared: Path) -> None:
    engine = nodes.engine()
    local("a b c")
    ends = [PairEnd.of(RunFolder(stacks("a", place="local")[0].working / name)) for name in "abc"]
    pairs = [(pair_task("0", (one, other), prepared, 5), "a title") for one in ends for other in ends if one != other]
    assert list(engine.map(measure_and_draw, iter(pairs))) == list(map(measure_and_draw, pairs))


def test_other_tasks_too_and_an_error_of_one_is_raised(nodes: TwoNodes) -> None:
    engine = nodes.engine()
    assert list(engine.map(abs, iter([-3, -1, -2, -5, -4]))) == [3, 1, 2, 5, 4]
    assert list(engine.map(abs, [])) == []
    with pytest.raises(TypeError):
        list(engine.map(abs, ["not a number"]))
    tries = Path(os.environ["TMPDIR"]) / "tries"

    def out_of_memory(task: None) -> None:
        with tries.open("a") as file:
            file.write("x")
        raise MemoryError

    with pytest.raises(LmcError, match="given up: its machine had no memory"):
        list(engine.map(out_of_memory, [None]))
    assert tries.stat().st_size == TRIES


def test_gpus_are_shared_by_more_jobs_than_there_are(nodes: TwoNodes) -> None:
    """A GPU that Ray was told of; nothing computes on it. The nodes without one are left alone."""
    third, place = nodes.cluster.add_node(num_cpus=4, num_gpus=1, memory=MEMORY), Path(os.environ["TMPDIR"])

    def meet(names: tuple[str, str]) -> str:
        """Return the node, after another task has begun, too."""
        (place / names[0]).touch()
        until = time.monotonic() + 60
        while not (place / names[1]).exists():
            assert time.monotonic() < until, "alone"
            time.sleep(0.05)
        return str(__import__("ray").get_runtime_context().get_node_id())

    try:
        engine = nodes.engine()
        engine.machines.device, engine.machines._looked = "cuda", float("-inf")
        assert [machine.gpus for machine in engine.machines.alive()] == [1] and engine.jobs == 1
        engine._jobs = 2
        places = list(engine.map(meet, [("one", "other"), ("other", "one")]))
        assert places == [third.node_id] * 2
        engine._jobs = 3
        assert engine._resources(0)["num_gpus"] == 0.3333  # three of them fit
    finally:
        nodes.cluster.remove_node(third)


def test_doctor_lists_token_and_machines(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes.engine()
    monkeypatch.setenv("LMC_ENGINE", "ray")
    monkeypatch.setenv("LMC_RAY_ADDRESS", nodes.address)
    token, place, *machines = check_cluster(None)
    assert (token.name, place.name) == ("token", "place")
    assert [finding.state for finding in (token, place)] == ["ok", "ok"]
    assert len(machines) >= 2
    assert all(numerics_tag() in finding.detail for finding in machines if finding.state == "ok")
    assert sum(finding.state == "ok" for finding in machines) == 2


def test_a_node_that_asks_for_no_token_is_refused_unless_insecure(nodes: TwoNodes) -> None:
    machines = nodes.engine().machines
    (found, token), *_ = machines.identities().values()
    assert token and machines.require_one("a node", (found, True)) == found
    with pytest.raises(LmcError, match="a node: asks for no token"):
        machines.require_one("a node", (found, False))
    assert nodes.engine(insecure=True).machines.require_one("a node", (found, False)) == found
