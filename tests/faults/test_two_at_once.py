"""Two commands on one study, or on the same runs: one writes, the other says whom it waits for, nothing is doubled."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from figures import note
from small import SOUND, Small, kill, store_faults
from test_signals import GO_ON, wait_for_epoch

from lmc_repro.common.locks import hold, holder, holder_file, is_held


def test_two_of_one_study(undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    first = fresh.copy(tmp_path / "project")
    second = Small(first.root, first.warm, "second.txt")
    one = first.start("run", "one", "--jobs", "2", slow=0.2)
    wait_for_epoch(first, one, 1)
    two = second.start("run", "one", "--jobs", "2")
    assert (first.wait(one), second.wait(two)) == (0, 0), first.printed() + second.printed()
    host = os.uname().nodename
    assert f"waiting for process {one} on {host}, which works on " in second.printed()
    assert "trained 4, reused 0, resumed 0" in first.printed() and "trained 0, reused 4" in second.printed()
    assert first.results() == undisturbed[0].results()
    assert store_faults(first.root) == SOUND
    note("two at once", "one study twice, the same runs into two folders, a holder killed, a waiter interrupted")


def test_the_same_runs_into_two_folders(undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    """Run by run: the second takes what the first finishes, and both end."""
    first = fresh.copy(tmp_path / "project")
    second = Small(first.root, first.warm, "second.txt")
    one = first.start("run", "one", "--jobs", "2", "--out", str(first.root / "a"), slow=0.5)
    wait_for_epoch(first, one, 1)
    two = second.start("run", "one", "--jobs", "2", "--out", str(first.root / "b"))
    assert (first.wait(one), second.wait(two)) == (0, 0), first.printed() + second.printed()
    assert ", which trains a run of this study" in second.printed()
    assert "trained 4" in first.printed() and "trained 0, reused 4" in second.printed()
    expected = undisturbed[0].results()["one/cells.json"]
    for out in ("a", "b"):
        assert (first.root / out / "results" / "one" / "cells.json").read_bytes() == expected
    assert store_faults(first.root) == SOUND


def test_the_lock_of_a_killed_process_is_taken(undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    first = fresh.copy(tmp_path / "project")
    second = Small(first.root, first.warm, "second.txt")
    one = first.start("run", "one", "--jobs", "2", slow=0.4)
    wait_for_epoch(first, one, 1)
    two = second.start("run", "one", "--jobs", "2")
    third = Small(first.root, first.warm, "third.txt")
    three = third.start("run", "one", "--jobs", "2")
    until = time.monotonic() + 60
    while "waiting for" not in third.printed() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(three, signal.SIGINT)  # a waiter can be told to stop
    assert third.wait(three) == 130 and third.printed().splitlines()[-1] == GO_ON
    kill(one, group=False)
    first.wait(one)
    assert second.wait(two) == 0, second.printed()
    assert "resumed 0" not in second.printed().splitlines()[-1]
    assert second.results() == undisturbed[0].results()
    assert store_faults(first.root) == SOUND


def test_a_lock_names_its_holder_and_is_released(tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "x.lock"
    told: list[str] = []

    def stop(who: str) -> None:
        told.append(who)
        raise TimeoutError

    with hold(lock, stop):
        assert holder(lock) == f"process {os.getpid()} on {os.uname().nodename}" and is_held(lock)
        with pytest.raises(TimeoutError), hold(lock, stop):
            pass
        holder_file(lock).write_text("no name of a process")
        assert holder(lock) == "another process"
    assert told == [f"process {os.getpid()} on {os.uname().nodename}"]
    assert not holder_file(lock).exists() and not is_held(lock)
    with hold(lock, stop):
        pass
