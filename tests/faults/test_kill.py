"""kill -9 at random moments: whatever was being done, the next `lmc run` goes on and ends with the same results."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

from figures import LONG, note
from small import OUT, SOUND, Small, contents, kill, store_faults

from lmc_repro.common.files import write_atomic

KILLS = 100 if LONG else 20
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


def test_killed_at_random_moments(undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    whole, seconds = undisturbed
    expected, runs = whole.results(), contents(whole.root / OUT / "runs")
    moments = random.Random(SEED)
    struck: Counter[str] = Counter()
    finished, small = 0, fresh.copy(tmp_path / "0")
    while struck.total() < KILLS:
        pid = small.start("run", "one", "--jobs", "2", slow=SLOW)
        time.sleep(moments.uniform(0.0, seconds + 4 * SLOW))
        if small.ended(pid):  # before its moment came
            finished += check(small, expected, runs)
            if said := re.search(r"trained 4, reused 0, resumed 0 in (\d+) s", small.printed()):
                seconds = int(said[1]) + 0.5 - 4 * SLOW  # the machine may be quicker now, or slower
            shutil.rmtree(small.root)
            small = fresh.copy(tmp_path / str(finished))
            continue
        kill(pid, group=moments.random() < 0.5)  # alone, or with its workers
        small.wait(pid)
        struck[phase(small)] += 1
    small.study()
    finished += check(small, expected, runs)
    when = ", ".join(f"{count} {name}" for name, count in sorted(struck.items()))
    note("kill -9", f"{struck.total()} kills ({when}); {finished} studies ended, all with the undisturbed bytes")


def test_what_a_killed_process_had_half_written_goes_with_the_next_writing(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    alive, dead = os.getppid(), ended.pid
    for name in (f".x.json.{dead}.tmp", f".x.json.{alive}.tmp", f".y.json.{dead}.tmp", ".x.json.a.tmp"):
        (tmp_path / name).write_text("half")
    write_atomic(tmp_path / "x.json", b"whole")
    left = {".x.json.a.tmp", f".x.json.{alive}.tmp", f".y.json.{dead}.tmp", "x.json"}
    assert set(contents(tmp_path)) == left


def check(small: Small, expected: dict[str, bytes], runs: dict[str, bytes]) -> int:
    """Hold what a study left against an undisturbed one: results, run folders, and nothing twice or lost in MLflow."""
    assert "trained" in small.printed(), small.printed()
    assert small.results() == expected
    assert contents(small.root / OUT / "runs") == runs
    assert store_faults(small.root) == SOUND
    return 1
