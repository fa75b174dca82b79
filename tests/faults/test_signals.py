"""Ctrl-C and SIGTERM: work ends in order, one line says how to go on, the exit code is the signal's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from figures import note
from small import SOUND, Small, rows, store_faults

GO_ON = "interrupted: run the same command again to go on"
PATIENCE = 120.0
ENDED: list[str] = []


def wait_for_epoch(small: Small, pid: int, epoch: int) -> None:
    """Wait until a run has passed an epoch."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not small.ended(pid):
        for file in small.root.glob(".lmc/runs/*/progress.json"):
            if json.loads(file.read_bytes())["epoch"] >= epoch:
                return
        time.sleep(0.02)
    pytest.fail(f"no epoch {epoch} before the end: {small.printed()}")


def alive(group: int) -> list[str]:
    """Return the processes of a group that have not ended."""
    listed = subprocess.run(["ps", "-eo", "pgid,stat,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


@pytest.mark.parametrize(
    "number, group",
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)],
    ids=["TERM", "TERM to all", "INT to all"],
)
def test_a_signal_ends_the_work_in_order(
    number: signal.Signals, group: bool, undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path
) -> None:
    small = fresh.copy(tmp_path / "project")
    pid = small.start("run", "one", "--jobs", "2", slow=0.4)
    wait_for_epoch(small, pid, 1)
    (os.killpg if group else os.kill)(pid, number)
    assert small.wait(pid) == 128 + number, small.printed()
    assert small.printed().count(GO_ON) == 1 and small.printed().splitlines()[-1] == GO_ON
    assert "Traceback" not in small.printed() and "error" not in small.printed()
    assert alive(pid) == []
    if not (group and number == signal.SIGTERM):  # which ends workers where they stand
        assert not list(small.root.glob(".lmc/**/*.holder"))
    left = dict(rows(small.root, "SELECT name, status FROM runs"))
    assert "RUNNING" not in {status for name, status in left.items() if "seeds" in name}, left
    said = small.study()
    assert "resumed 0" not in said.splitlines()[-1], said
    assert small.results() == undisturbed[0].results()
    assert store_faults(small.root) == SOUND
    ENDED.append(f"{number.name} to {'all' if group else 'one'}: {128 + number}")
    note("signals", f"{'; '.join(ENDED)}; each resumed with the undisturbed bytes")
