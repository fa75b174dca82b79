"""Nodes, workers and the command of a Ray cluster, killed at random: the undisturbed bytes in the end, every time."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from helpers import contents
from small import FIGURES, LONG, OUT, Small, kill
from two_nodes import TwoNodes, two_nodes

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'lmc_repro[ray]'"),
]

KILLS = 30 if LONG else 3
SEED = 20231213
SLOW = Path(__file__).parents[1] / "engine" / "on_workers.py"


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def study(fresh: Small, tmp_path: Path) -> Small:
    """The project, its evaluations slowed down and every epoch saved by a file of its own, which travels."""
    small = fresh.copy(tmp_path / "slow")
    shutil.copy(SLOW, small.root)
    params = json.loads((small.root / "params.yaml").read_text())
    params["studies"]["one"]["callbacks"] = [f"{SLOW.name}:slow"]
    (small.root / "params.yaml").write_text(json.dumps(params))
    return small


def strike(victim: str, pid: int, nodes: TwoNodes, moments: random.Random) -> str:
    """Kill a victim with signal 9 and return what it was doing."""
    if victim == "node":
        nodes.kill_second()
    elif victim == "command":
        kill(pid, group=True)
    elif workers := nodes.workers():
        worker = moments.choice(workers)
        with suppress(psutil.NoSuchProcess):
            victim = worker.cmdline()[0].removeprefix("ray::")
            worker.send_signal(signal.SIGKILL)
    return victim


def test_nodes_workers_and_command_killed_at_random_moments(
    nodes: TwoNodes, whole: Small, study: Small, tmp_path: Path
) -> None:
    moments, struck, codes = random.Random(SEED), Counter[str](), Counter[int]()
    runs, finished = contents(whole.root / OUT / "runs"), 0
    victims = [("worker", "node", "command")[i % 3] for i in range(KILLS)]
    moments.shuffle(victims)
    small = study.copy(tmp_path / "0")
    while True:
        nodes.complete()
        before = struck.total()
        pid = small.start("run", "one", "--engine", "ray", "--address", nodes.address, env=nodes.environment)
        next_strike = time.monotonic() + moments.uniform(3.0, 15.0)  # its stacks begin after about 8 s
        while (code := small.warm.ask(poll=pid)) is None:
            time.sleep(0.05)
            if victims and time.monotonic() >= next_strike:
                struck[strike(victims.pop(), pid, nodes, moments)] += 1
                nodes.complete()
                next_strike = time.monotonic() + moments.uniform(0.5, 8.0)
        codes[code] += 1
        assert "Traceback" not in small.printed(), small.printed()
        if code == 2:  # a machine died twice as it was asked, the letters' keeper, or a run's workers four times
            assert struck.total() > before, small.printed()
        elif code == 0:
            small.check(whole)
            assert contents(small.root / OUT / "runs") == runs
            finished += 1
            if not victims:
                break
            small = study.copy(tmp_path / str(finished))
        else:
            assert code == -signal.SIGKILL, small.printed()
    assert struck.total() == KILLS
    when = ", ".join(f"{count} {name}" for name, count in sorted(struck.items()))
    FIGURES["kill -9 on a cluster"] = (
        f"{struck.total()} kills ({when}); {finished} studies ended, all with the undisturbed bytes; exit codes "
        + ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
    )
