"""The batch for a borrowed GPU, with a fake clock and fake commands: order, time, files, what it survives."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/gpu_batch.py as a module."""
    spec = importlib.util.spec_from_file_location("gpu_batch", ROOT / "scripts" / "gpu_batch.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Machine:
    """Commands that take 100 s by a clock of their own, and leave a folder of 1,000 bytes where they run a study."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.now, self.failing, self.ran, self.limits = 0.0, failing, [], []  # type: ignore[var-annotated]

    def clock(self) -> float:
        return self.now

    def run(self, command: Sequence[str], seconds: float, log: Path) -> int:
        out = Path(command[-1]) if "--out" in command else None
        name = out.name if out else ("tests" if "pytest" in command else "benchmark")
        self.ran.append(name)
        self.limits.append(seconds)
        self.now += min(100.0, seconds)
        log.touch()
        if name in self.failing or seconds < 100.0:
            return 2
        if out:
            out.mkdir(parents=True)
            (out / "cells.json").write_bytes(bytes(1000))
        return 0


def test_steps_run_in_order_until_the_time_is_over_whatever_fails(script: ModuleType, tmp_path: Path) -> None:
    machine, wanted = Machine(failing=("tests", "b")), [script.Job(name, (name,)) for name in "abcdef"]
    done = script.batch(tmp_path / "out", tmp_path / "work", 540, wanted, run=machine.run, clock=machine.clock)
    assert machine.ran == ["tests", "benchmark", "a", "b", "c", "d"]  # 20 s at the end are for d's own end
    assert machine.limits == [120.0, 120.0, 320.0, 220.0, 120.0, 20.0]  # 120 s at most for each check
    assert {name: step["exit"] for name, step in done.items()} == {
        "tests": 2, "benchmark": 0, "a": 0, "b": 2, "c": 0, "d": 2
    }  # fmt: skip
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"tests.txt", "benchmark.json", "log.txt", "batch.json", "studies.tar.gz.00"}
    with tarfile.open(tmp_path / "out" / "studies.tar.gz.00") as archive:
        assert sorted(archive.getnames()) == ["a", "a/cells.json", "c", "c/cells.json"]
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["steps"] == done


def test_two_jobs_run_at_once_and_each_log_is_whole(script: ModuleType, tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    def run(command: Sequence[str], seconds: float, log: Path) -> int:
        out = Path(command[-1])
        both.wait()
        out.mkdir(parents=True)
        log.write_text(f"of {out.name}\n")
        return 0

    wanted = [script.Job(name, (name,)) for name in "ab"]
    done = script.batch(tmp_path / "out", tmp_path / "work", 540, wanted, checks=(), lanes=2, run=run)
    assert {name: step["exit"] for name, step in done.items()} == {"a": 0, "b": 0}
    lines = (tmp_path / "out" / "log.txt").read_text().splitlines()
    assert sorted(zip(lines[::2], lines[1::2], strict=True)) == [(f"== {x}: exit 0", f"of {x}") for x in "ab"]


def test_the_archive_comes_in_parts_and_what_does_not_fit_is_named(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "PART_BYTES", 3000)
    work, out, wanted = tmp_path / "work", tmp_path / "out", [script.Job(name, (name,)) for name in "abcd"]
    out.mkdir()
    for i, job in enumerate(wanted):
        (work / job.name).mkdir(parents=True)
        random = bytes((j * j * 31 + i * j * 7) % 251 ^ (j * 2654435761 >> 13) & 255 for j in range(5000))
        (work / job.name / "curves.csv").write_bytes(random)
    assert script.pack(work, wanted, out) == ["c", "d"]
    parts = sorted(out.iterdir())
    assert len(parts) <= script.PARTS and all(part.stat().st_size <= 3000 for part in parts)
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
        assert [name for name in archive.getnames() if "/" not in name] == ["a", "b"]


def test_a_command_is_interrupted_then_killed(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "GRACE_SECONDS", 0.5)
    code = "import signal, time; signal.signal(signal.SIGINT, lambda *a: print('heard', flush=True)); print('on', flush=True)\nfor _ in range(600): time.sleep(0.1)"  # noqa: E501
    assert script.run_command([sys.executable, "-c", code], 1.5, tmp_path / "log.txt") == -9
    assert (tmp_path / "log.txt").read_text().split() == ["on", "heard"]
    assert script.run_command([sys.executable, "-c", "raise SystemExit(3)"], 30, tmp_path / "log.txt") == 3


def test_every_job_resolves_under_the_papers_profile(script: ModuleType) -> None:
    """The arguments are those of `lmc run`: rows, columns and settings that params.yaml has, on MNIST alone."""
    from lmc_repro.cli.session import parse_settings

    params = load_params(ROOT / "params.yaml")
    for job in script.jobs():
        study, *options = job.arguments
        given: dict[str, list[str]] = {}
        for name, value in zip(options[::2], options[1::2], strict=True):
            given.setdefault(name, []).append(value)
        one = {name: int(values[0]) for name, values in given.items() if name in ("--width", "--pairs")}
        choice = Choice(
            "paper", tuple(given.get("--row", ())), tuple(given.get("--column", ())), one.get("--pairs"),
            width=one.get("--width"), settings=parse_settings(given.get("--set", [])),
        )  # fmt: skip
        cells = plan_study(params, study, choice).cells
        dataset = "cifar10" if job.name.endswith("cifar10") else "mnist"
        assert cells and {cell.config["data"]["dataset"] for cell in cells} == {dataset}
