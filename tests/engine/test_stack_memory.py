"""A stack that the GPU has no memory for is trained in halves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset

from lmc_repro.common.errors import LmcError
from lmc_repro.engine import task as task_module
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.training.trainer import train_stack


def prepare_task(children: int, fits: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StackTask, list[int]]:
    """Return a task on the CPU, and the sizes that are tried; more than `fits` children raise what CUDA raises."""
    tried: list[int] = []

    def tight(stack: list[Any], *arguments: Any) -> None:
        tried.append(len(stack))
        if len(stack) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        train_stack(stack, *arguments)

    monkeypatch.setattr(task_module, "train_stack", tight)
    monkeypatch.setattr(task_module, "load_dataset", lambda prepared, name: tiny_dataset())
    runs = tuple((f"run{i}", run_config(seeds={"loader": i})) for i in range(children))
    return StackTask(runs, root, root, "resident", "portable", "cpu", 0.0), tried


def test_halves_until_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, tried = prepare_task(5, 2, tmp_path, monkeypatch)
    train_task(task, lambda event: None)
    assert tried == [5, 2, 3, 1, 2]
    assert all((tmp_path / fingerprint / "status.json").is_file() for fingerprint in task.fingerprints)


def test_one_that_does_not_fit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, tried = prepare_task(2, 0, tmp_path, monkeypatch)
    with pytest.raises(LmcError, match="no memory for run run0 alone"):
        train_task(task, lambda event: None)
    assert tried == [2, 1]


@pytest.fixture(autouse=True)
def _mode_put_back() -> Any:
    yield
    torch.set_deterministic_debug_mode("default")
