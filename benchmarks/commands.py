"""Commands that have nothing to do: `lmc --help`, and `dvc repro` where nothing changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.options import Options
from benchmarks.spread import spread

ROOT = Path(__file__).parent.parent
LMC = [str(Path(sys.executable).with_name("lmc"))]
DVC = [sys.executable, "-m", "dvc"]


def measure(options: Options) -> dict[str, Any]:
    """Return `help_seconds`, and `noop_repro_seconds`, None with a reason where the project is not up to date."""
    found: dict[str, Any] = {"help_seconds": seconds([*LMC, "--help"], options.repeats)}
    if reason := not_up_to_date():
        return {**found, "noop_repro_seconds": None, "noop_repro_not_measured": reason}
    return {**found, "noop_repro_seconds": seconds([*DVC, "repro"], min(options.repeats, 3))}


def not_up_to_date() -> str | None:
    """Return why `dvc repro` would have work to do; None where it has none."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return "not a git checkout"
    # With --quiet the exit code is 1 for any change.
    status = subprocess.run([*DVC, "status", "--quiet"], cwd=ROOT, capture_output=True)
    return None if status.returncode == 0 else "`dvc status` reports changes: run `make repro` first"


def seconds(command: list[str], repeats: int) -> dict[str, Any]:
    """Return how long a command takes, after one call that fills caches; RuntimeError if it fails."""
    laps = []
    for _ in range(1 + repeats):
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        laps.append(time.perf_counter() - begun)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return spread(laps[1:])
