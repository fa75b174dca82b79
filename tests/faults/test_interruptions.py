"""Killed, interrupted, two at once, without a server: what went on before goes on, and ends with the same results."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import contents
from small import FIGURES, LONG, OUT, Small, kill, rows, store_faults

from lmc_repro.common.files import write_atomic
from lmc_repro.common.locks import hold, holder, holder_file, is_held
from lmc_repro.common.signals import GO_ON
from lmc_repro.tracking.server import HOST, free_port, mlflow_server

KILLS = 100 if LONG else 10
SEED = 20231209
SLOW = 0.15  # seconds more for each epoch: training would be over in the tenth part of the time


def phase(small: Small) -> str:
    """Return what a command that was killed just now was about, as far as its files tell."""
    runs = list((small.root / ".lmc" / "runs").glob("*/"))
    if not runs:
        return "before training"
    if not all((run / "status.json").exists() for run in runs):
        return "training"
    return "reporting" if (small.root / OUT / "results" / "one" / "curves.csv").exists() else "comparing"


def test_killed_at_random_moments(whole: Small, fresh: Small, tmp_path: Path) -> None:
    """In the end: the results, the run folders, and nothing twice or lost in MLflow."""
    seconds, runs, moments = whole.seconds, contents(whole.root / OUT / "runs"), random.Random(SEED)
    struck: Counter[str] = Counter()
    finished, small = 0, fresh.copy(tmp_path / "0")
    while struck.total() < KILLS:
        pid = small.start_study(slow=SLOW)
        time.sleep(moments.uniform(0.0, seconds + 4 * SLOW))
        if small.ended(pid):  # before its moment came
            assert "trained" in small.printed(), small.printed()
            small.check(whole)
            assert contents(small.root / OUT / "runs") == runs
            if said := re.search(r"trained 4, reused 0, resumed 0 in (\d+) s", small.printed()):
                seconds = int(said[1]) + 0.5 - 4 * SLOW  # the machine may be quicker now, or slower
            shutil.rmtree(small.root)
            finished += 1
            small = fresh.copy(tmp_path / str(finished))
            continue
        kill(pid, group=moments.random() < 0.5)  # alone, or with its workers
        small.wait(pid)
        struck[phase(small)] += 1
    small.finish(whole)
    assert contents(small.root / OUT / "runs") == runs
    when = ", ".join(f"{count} {name}" for name, count in sorted(struck.items()))
    FIGURES["kill -9"] = (
        f"{struck.total()} kills ({when}); {finished + 1} studies ended, all with the undisturbed bytes"
    )


def test_what_a_killed_process_had_half_written_goes_with_the_next_writing(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    alive, dead = os.getppid(), ended.pid
    for name in (f".x.json.{dead}.tmp", f".x.json.{alive}.tmp", f".y.json.{dead}.tmp", ".x.json.a.tmp"):
        (tmp_path / name).write_text("half")
    write_atomic(tmp_path / "x.json", b"whole")
    assert set(contents(tmp_path)) == {".x.json.a.tmp", f".x.json.{alive}.tmp", f".y.json.{dead}.tmp", "x.json"}


def alive(group: int) -> list[str]:
    """Return the processes of a group that have not ended."""
    listed = subprocess.run(["ps", "-eo", "pgid,stat,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


@pytest.mark.parametrize("number, group", [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)])
def test_a_signal_ends_the_work_in_order(number: signal.Signals, group: bool, whole: Small, small: Small) -> None:
    pid = small.start_study(slow=0.4)
    small.wait_for_epoch(pid, 1)
    kill(pid, group, number)
    assert small.wait(pid) == 128 + number, small.printed()
    assert small.printed().count(GO_ON) == 1 and small.printed().splitlines()[-1] == GO_ON
    assert "Traceback" not in small.printed() and "error" not in small.printed()
    assert alive(pid) == []
    if not (group and number == signal.SIGTERM):  # which ends workers where they stand
        assert not list(small.root.glob(".lmc/**/*.holder"))
    left = dict(rows(small.root, "SELECT name, status FROM runs"))
    assert "RUNNING" not in {status for name, status in left.items() if "seeds" in name}, left
    assert "resumed 0" not in small.finish(whole).splitlines()[-1]


def test_two_of_one_study(whole: Small, small: Small) -> None:
    second = replace(small, log="second.txt")
    one = small.start_study(slow=0.2)
    small.wait_for_epoch(one, 1)
    two = second.start_study()
    assert (small.wait(one), second.wait(two)) == (0, 0), small.printed() + second.printed()
    assert f"process {one} on {os.uname().nodename}" in second.printed()
    assert "trained 4, reused 0, resumed 0" in small.printed() and "trained 0, reused 4" in second.printed()
    small.check(whole)


def test_the_same_runs_into_two_folders(whole: Small, small: Small) -> None:
    """Run by run: the second takes what the first finishes, and both end."""
    second = replace(small, log="second.txt")
    one = small.start_study(slow=0.5, out="a")
    small.wait_for_epoch(one, 1)
    two = second.start_study(out="b")
    assert (small.wait(one), second.wait(two)) == (0, 0), small.printed() + second.printed()
    assert re.search(rf"process \d+ on {os.uname().nodename}\b", second.printed())  # a worker of the first
    assert "trained 4" in small.printed() and "trained 0, reused 4" in second.printed()
    for out in ("a", "b"):
        assert contents(small.root / out / "results")["one/cells.json"] == whole.results()["one/cells.json"]
    assert store_faults(small.root) == []


def test_the_lock_of_a_killed_process_is_taken(whole: Small, small: Small) -> None:
    second, third = replace(small, log="second.txt"), replace(small, log="third.txt")
    one = small.start_study(slow=0.4)
    small.wait_for_epoch(one, 1)
    two, three = second.start_study(), third.start_study()
    until = time.monotonic() + 60
    while "waiting for" not in third.printed() and time.monotonic() < until:
        time.sleep(0.05)
    kill(three, False, signal.SIGINT)  # a waiter can be interrupted
    assert third.wait(three) == 130 and third.printed().splitlines()[-1] == GO_ON
    kill(one, group=False)
    small.wait(one)
    assert second.wait(two) == 0, second.printed()
    assert "resumed 0" not in second.printed().splitlines()[-1]
    second.check(whole)


def test_a_lock_names_its_holder_and_is_released(tmp_path: Path) -> None:
    lock, named = tmp_path / "deep" / "x.lock", f"process {os.getpid()} on {os.uname().nodename}"
    waited: list[str] = []

    def stop(who: str) -> None:
        waited.append(who)
        raise TimeoutError

    with hold(lock, stop):
        assert holder(lock) == named and is_held(lock)
        with pytest.raises(TimeoutError), hold(lock, stop):
            pass
        holder_file(lock).write_text("no name of a process")
        assert holder(lock) == "another process"
    assert waited == [named]
    assert not holder_file(lock).exists() and not is_held(lock)
    with hold(lock, stop):
        pass


@pytest.mark.server
def test_a_server_that_goes_and_comes_back(whole: Small, small: Small, tmp_path: Path) -> None:
    """Training goes on without it; nothing is lost, and no point is logged twice."""
    home = tmp_path / "server"
    home.mkdir()
    shutil.copy(small.root / "empty.db", home / "mlflow.db")
    store, port = f"sqlite:///{home}/mlflow.db", free_port(5123)
    environment = {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is gone for longer than its client tries
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    }
    with mlflow_server(store, home, port, home / "log") as server:
        pid = small.start("train", "one", "--jobs", "2", slow=0.6, env=environment)
        small.wait_for_epoch(pid, 2)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        assert small.wait(pid) == 0, small.printed()  # training goes on
        assert "MLflow could not be written" in small.printed()
        assert f"http://{HOST}:{port}" in small.refused("compare", "one", "--jobs", "1", env=environment)
    with mlflow_server(store, home, port, home / "log"):
        assert "trained 0, reused 4" in small.run("run", "one", "--jobs", "2", env=environment)
    assert small.results() == whole.results()
    assert store_faults(home) == []
    assert not rows(small.root, "SELECT 1 FROM runs")  # and nothing went into the project's own store


PROGRAM = """
import os, signal, sys, time, weakref
from lmc_repro.common.errors import Interrupted
from lmc_repro.common.signals import listen

class Thing:
    def __del__(self):
        if {where!r} == "del":
            os.kill(os.getpid(), {number})
            time.sleep(0)

listen()
thing = Thing()
reference = weakref.ref(thing, lambda gone: {where!r} == "weakref" and os.kill(os.getpid(), {number}))
try:
    del thing
    if {where!r} == "plain":
        os.kill(os.getpid(), {number})
    time.sleep(60)
except Interrupted as interrupted:
    print("in order")
    sys.exit(interrupted.code)
"""


@pytest.mark.parametrize("where", ["plain", "del", "weakref"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_signal_is_lost(where: str, number: signal.Signals) -> None:
    """Python drops exceptions of a weak reference's callback and of a `__del__`."""
    program = PROGRAM.format(where=where, number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "in order\n", "")


HALF_IMPORTED = """
import os, sys
from lmc_repro import cli
from lmc_repro.cli import app as module
from lmc_repro.common.errors import Interrupted

def command():
    if {number}:
        try:
            os.kill(os.getpid(), {number})
        except Interrupted:
            pass  # as a library's own handler of a failed import does
    raise RecursionError("numpy, half imported")

module.app = command
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, 0])
def test_what_fails_because_of_a_signal_is_the_signals(number: int) -> None:
    """A mistake of this program, 0, stays a traceback."""
    program = HALF_IMPORTED.format(number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    if number:
        assert (done.returncode, done.stderr) == (128 + number, f"{GO_ON}\n")
    else:
        assert done.returncode == 1 and "RecursionError: numpy, half imported" in done.stderr
