"""Interrupted training goes on from its last checkpoint and ends with the bits of a training never interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny_project import TinyProject, contents, make_project

from lmc_repro.common.signals import GO_ON

pytestmark = pytest.mark.slow

EPOCHS = 300  # several seconds
OFTEN = ("SAVE_EVERY_SECONDS = 5.0", "SAVE_EVERY_SECONDS = 0.2")  # so that a state is saved on the way
PATIENCE = 300.0  # seconds; a stuck process fails the test instead of the whole run


@pytest.fixture
def project(tmp_path: Path, empty_store: Path) -> TinyProject:
    """A project of one column of longer runs, prepared and not trained; its own copy of the package saves often."""
    project = make_project(tmp_path)
    params = project.params()
    settings = params["profiles"]["digits"]["settings"]
    settings |= {"epochs": EPOCHS, "evaluate_at": [0, *range(20, EPOCHS + 1, 20)]}
    params["profiles"]["digits"]["overrides"] = []
    del params["studies"]["table1"]["columns"]["sgd-high"]
    project.write_params(params)
    trainer = project.root / "lmc_repro" / "training" / "trainer.py"
    assert trainer.read_text().count(OFTEN[0]) == 1
    trainer.write_text(trainer.read_text().replace(*OFTEN))
    project.lmc("prepare", "digits")
    shutil.copy(empty_store, project.root)
    return project


def train(project: TinyProject) -> tuple[str, ...]:
    """Return the command that trains the study by the project's own copy of the package."""
    return ("env", f"PYTHONPATH={project.root}", "lmc", "train", "table1")


def wait_for_progress(project: TinyProject, process: subprocess.Popen[str], epoch: int) -> int:
    """Wait until a run has saved its state at an epoch after this one, and return that epoch."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        for file in project.root.glob(".lmc/runs/*/progress.json"):
            if (saved := int(json.loads(file.read_bytes())["epoch"])) > epoch:
                return saved
        time.sleep(0.02)
    pytest.fail(f"no progress before the end: {process.communicate()[0]}")


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes of a process group that are still alive."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [int(pid) for pid, group, state in rows if int(group) == process.pid and not state.startswith("Z")]


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_an_interruption_as_workers_begin_ends_them_too(project: TinyProject, seconds: float) -> None:
    process = project.start(*train(project))
    assert process.stdout is not None
    begun = next(line for line in process.stdout if line.startswith("training "))
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed.count(GO_ON)) == (130, 1), begun + printed
    assert "Traceback" not in printed
    assert list(project.root.glob(".lmc/runs/*/status.json")) == []


def test_interrupted_training_goes_on_with_the_same_bits(project: TinyProject) -> None:
    """Ctrl-C, all processes killed, the parent alone killed: its workers end, or a second writer would be met."""
    assert "trained 4, reused 0, resumed 0" in project.lmc("train", "table1")
    undisturbed = contents(project.root / "runs")
    for name in ("runs", ".lmc"):
        shutil.rmtree(project.root / name)
    saved = 0
    for number, group in ((signal.SIGINT, True), (signal.SIGKILL, True), (signal.SIGKILL, False)):
        process = project.start(*train(project))
        saved = wait_for_progress(project, process, saved)
        (os.killpg if group else os.kill)(process.pid, number)
        printed, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), printed
        if number == signal.SIGINT:
            assert printed.count(GO_ON) == 1 and "Traceback" not in printed and workers(process) == []
        until = time.monotonic() + PATIENCE
        while workers(process) and time.monotonic() < until:
            time.sleep(0.1)
        assert workers(process) == []
        assert not (project.root / "runs" / "table1").exists()
    assert "resumed 0" not in project.ok(*train(project)).splitlines()[-1]
    assert contents(project.root / "runs") == undisturbed
