"""A study of seconds, run in children of a warm process, and what is left of it: files, and rows of MLflow's store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_study import PARAMS

OUT = "out/tiny/one"


def small_params() -> dict[str, Any]:
    """Return params.yaml of a study of two cells, one pair each, four epochs."""
    params = json.loads(json.dumps(PARAMS))
    profile, study = params["profiles"]["tiny"], params["studies"]["one"]
    profile |= {"pairs": 1, "numerics": "portable", "loader": "resident"}
    del study["rows"]["shallow"], params["studies"]["two"]
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
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._read() == "ready"

    def ask(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate(timeout=60)


@dataclass(frozen=True)
class Small:
    """A project with the small study, its data ready and its store empty."""

    root: Path
    warm: Warm
    log: str = "printed.txt"

    def start(self, *argv: str, **more: Any) -> int:
        """Start `lmc ARGV` and return its process."""
        (self.root / self.log).unlink(missing_ok=True)
        return int(self.warm.ask(root=str(self.root), argv=list(argv), log=self.log, **more))

    def run(self, *argv: str, code: int = 0, **more: Any) -> str:
        """Run `lmc ARGV`, which must end with `code`, and return what it printed."""
        found = self.wait(self.start(*argv, **more))
        assert found == code, f"exit code {found}: {self.printed()}"
        assert "Traceback" not in self.printed(), self.printed()
        return self.printed()

    def study(self, **more: Any) -> str:
        """Run the study to its end."""
        return self.run("run", "one", "--jobs", "2", **more)

    def wait(self, pid: int) -> int:
        return int(self.warm.ask(wait=pid))

    def ended(self, pid: int) -> bool:
        return self.warm.ask(poll=pid) is not None

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


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kill(pid: int, group: bool) -> None:
    """End a command as the system's killer of processes does: alone, or with its workers."""
    (os.killpg if group else os.kill)(pid, signal.SIGKILL)


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    """Return rows of the project's store."""
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return list(connection.execute(query))


def store_faults(root: Path) -> dict[str, Any]:
    """Return what must be empty, or nought, in a store where nothing is lost and nothing doubled."""
    return {
        "points logged twice": rows(
            root, "SELECT run_uuid, key, step FROM metrics GROUP BY run_uuid, key, step HAVING count(*) > 1"
        ),
        "runs not finished": rows(
            root, "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active' AND status != 'FINISHED'"
        ),
        "runs twice": rows(
            root, "SELECT name, count(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY name HAVING count(*) > 1"
        ),
        "runs": len(rows(root, "SELECT 1 FROM runs WHERE lifecycle_stage = 'active'")) - (2 * (1 + 2 + 1)),
    }


SOUND = {"points logged twice": [], "runs not finished": [], "runs twice": [], "runs": 0}
