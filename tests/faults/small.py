"""A study of seconds, run in children of a warm process; what is left of it, in files and in MLflow's store; damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import contents
from small_study import PARAMS

OUT = "out/tiny/one"
LONG = os.environ.get("LMC_FAULTS") == "long"
"""Whether this is `make faults`: 100 kills, 30 on a cluster and 1,000 configs in place of 10, 3 and 60."""

FIGURES: dict[str, str] = {}
"""What a group of tests did, in a line: printed at the end of a test run."""


def small_params() -> dict[str, Any]:
    """Return params.yaml of a study of two cells, one pair each, four epochs."""
    params = json.loads(json.dumps(PARAMS))
    params["profiles"]["tiny"] |= {"pairs": 1, "numerics": "portable", "loader": "resident"}
    del params["studies"]["one"]["rows"]["shallow"], params["studies"]["two"]
    return params


class Warm:
    """The process of warm.py."""

    def __init__(self) -> None:
        here = Path(__file__).parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LMC_"))}
        environment = {
            **kept,
            "PYTHONPATH": os.pathsep.join((str(here.parents[1]), os.environ.get("PYTHONPATH", ""))),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NUMBA_NUM_THREADS": "4",  # so many workers may stream, on a machine with fewer cores too
            "COLUMNS": "160",
        }
        command = [sys.executable, "-W", "ignore", str(here / "warm.py")]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        assert self._read() == "ready"

    def ask(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@dataclass(frozen=True)
class Small:
    """A project with the small study, its data ready and its store empty; `seconds` is what the study takes."""

    root: Path
    warm: Warm
    log: str = "printed.txt"
    seconds: float = 0.0

    def start(self, *argv: str, **more: Any) -> int:
        """Start `lmc ARGV` and return its process."""
        (self.root / self.log).unlink(missing_ok=True)
        return int(self.warm.ask(root=str(self.root), argv=list(argv), log=self.log, **more))

    def start_study(self, out: str = "", **more: Any) -> int:
        return self.start("run", "one", "--jobs", "2", *(["--out", str(self.root / out)] if out else []), **more)

    def run(self, *argv: str, code: int = 0, **more: Any) -> str:
        """Run `lmc ARGV`, which must end with `code`, and return what it printed."""
        found = self.wait(self.start(*argv, **more))
        assert found == code, f"exit code {found}: {self.printed()}"
        assert "Traceback" not in self.printed(), self.printed()
        return self.printed()

    def refused(self, *argv: str, **more: Any) -> str:
        """Run `lmc ARGV`, by default the study, which must end with exit code 2; return the line that says why."""
        line = self.run(*(argv or ("run", "one", "--jobs", "2")), code=2, **more).splitlines()[-1]
        assert line.startswith("error: "), line
        return line

    def finish(self, whole: Small) -> str:
        """Run the study to its end, with the results of a whole one and a sound store; return what was printed."""
        printed = self.run("run", "one", "--jobs", "2")
        self.check(whole)
        return printed

    def check(self, whole: Small) -> None:
        """Hold what the study left against an undisturbed one."""
        assert self.results() == whole.results()
        assert store_faults(self.root) == []

    def wait(self, pid: int) -> int:
        return int(self.warm.ask(wait=pid))

    def ended(self, pid: int) -> bool:
        return self.warm.ask(poll=pid) is not None

    def wait_for_epoch(self, pid: int, epoch: int) -> None:
        """Wait until a run has passed an epoch."""
        until = time.monotonic() + 120.0
        while time.monotonic() < until and not self.ended(pid):
            for file in self.root.glob(".lmc/runs/*/progress.json"):
                if json.loads(file.read_bytes())["epoch"] >= epoch:
                    return
            time.sleep(0.02)
        pytest.fail(f"no epoch {epoch} before the end: {self.printed()}")

    def printed(self) -> str:
        path = self.root / self.log
        return path.read_text() if path.exists() else ""

    def results(self) -> dict[str, bytes]:
        """Return every file below the results, by name."""
        return contents(self.root / OUT / "results")

    def copy(self, root: Path) -> Small:
        """Return a copy of the project at another place."""
        shutil.copytree(self.root, root)
        return Small(root, self.warm)

    def forget_store(self) -> None:
        """Put an empty store, with its tables to save time, in the place of the project's."""
        for name in ("mlflow.db", "mlartifacts"):
            remove(self.root / name)
        shutil.copy(self.root / "empty.db", self.root / "mlflow.db")


def kill(pid: int, group: bool, number: int = signal.SIGKILL) -> None:
    """Send a command a signal: alone, or with its workers."""
    (os.killpg if group else os.kill)(pid, number)


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    """Return rows of the project's store."""
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return list(connection.execute(query))


def store_faults(root: Path) -> list[tuple[Any, ...]]:
    """Return what a store has twice, not finished or not at all: points and runs."""
    active = "FROM runs WHERE lifecycle_stage = 'active'"
    ((count,),) = rows(root, f"SELECT count(*) {active}")
    return [
        *rows(root, "SELECT run_uuid, key, step FROM metrics GROUP BY run_uuid, key, step HAVING count(*) > 1"),
        *rows(root, f"SELECT name, status {active} AND status != 'FINISHED'"),
        *rows(root, f"SELECT name, count(*) {active} GROUP BY name HAVING count(*) > 1"),
        *([("runs", count)] if count != 2 * (1 + 2 + 1) else []),
    ]


def replace(path: Path, content: bytes) -> None:
    """Give a file other bytes; not through links that other folders share."""
    remove(path)
    path.write_bytes(content)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def flip(path: Path, at: int | None = None) -> None:
    """Flip a bit of the byte `at`, by default the one in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    replace(path, bytes(content))


def make_unreadable(path: Path) -> None:
    """Put a folder in the place of the file: permissions do not bind a superuser, this does."""
    remove(path)
    path.mkdir()


HARM: dict[str, Callable[[Path], None]] = {
    "cut": lambda path: replace(path, path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
    "emptied": lambda path: replace(path, b""),
    "unreadable": make_unreadable,
}
