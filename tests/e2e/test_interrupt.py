"""Interrupted training goes on from its last checkpoint and ends with the bits of a training never interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny_project import TinyProject, contents, make_project

from lmc_repro.common.signals import GO_ON

pytestmark = pytest.mark.slow

EPOCHS = 2000  # so that a state is saved on the way


PATIENCE = 300.0  # seconds; a stuck process fails the test instead of the whole run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A project of one column of longer runs, prepared and trained without an interruption."""
    project = make_project(tmp_path_factory.mktemp("undisturbed"))
    params = project.params()
    settings = params["profiles"]["digits"]["settings"]
    settings |= {"epochs": EPOCHS, "evaluate_at": [0, *range(100, EPOCHS + 1, 100)]}
    params["profiles"]["digits"]["overrides"] = []
    del params["studies"]["table1"]["columns"]["sgd-high"]
    project.write_params(params)
    project.ok("lmc", "prepare", "digits")
    assert "trained 4, reused 0, resumed 0" in project.ok("lmc", "train", "table1")
    return project


@pytest.fixture
def project(undisturbed: TinyProject, tmp_path: Path) -> TinyProject:
    """The same project, prepared and not trained."""
    copy = make_project(tmp_path)
    copy.write_params(undisturbed.params())
    copy.ok("lmc", "prepare", "digits")
    return copy


def start_and_wait_for_progress(project: TinyProject) -> subprocess.Popen[str]:
    """Start a training in a process group of its own and return when a run has passed its first evaluations."""
    process = project.start("lmc", "train", "table1")
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        for file in project.root.glob(".lmc/runs/*/progress.json"):
            if json.loads(file.read_bytes())["epoch"] >= 100:
                return process
        time.sleep(0.02)
    pytest.fail(f"no progress before the end: {process.communicate()[0]}")


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes of a process group that are still alive."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [int(pid) for pid, group, state in rows if int(group) == process.pid and not state.startswith("Z")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_interrupted_training_goes_on_with_the_same_bits(
    number: signal.Signals, project: TinyProject, undisturbed: TinyProject
) -> None:
    process = start_and_wait_for_progress(project)
    os.killpg(process.pid, number)
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    if number == signal.SIGINT:
        assert printed.count(GO_ON) == 1 and "Traceback" not in printed and workers(process) == []
    assert not (project.root / "runs" / "table1").exists()
    printed = project.ok("lmc", "train", "table1")
    assert "resumed 0" not in printed.splitlines()[-1]
    assert contents(project.root / "runs") == contents(undisturbed.root / "runs")


def test_workers_of_a_killed_parent_stop(project: TinyProject) -> None:
    """A second training must not meet a second writer: orphans end with their epoch."""
    process = start_and_wait_for_progress(project)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until = time.monotonic() + PATIENCE
    while workers(process) and time.monotonic() < until:
        time.sleep(0.1)
    assert workers(process) == []
