"""A training refuses what torch cannot compute the same way twice, and says with what numerics it ran."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import run_config
from trained_store import write_prepared

from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.step import TrainStep


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.set_deterministic_debug_mode("default")


def task(root: Path, digits: Dataset) -> StackTask:
    write_prepared(Project(root), digits)
    config = run_config(data={"dataset": "digits"}, epochs=1, evaluate_at=[0, 1], batch_size=300)
    runs = (("f" * 16, config),)
    return StackTask(runs, root / "runs", root / "data" / "prepared", "resident", numerics_tag(), "cpu", 1.0)


def test_an_operation_with_random_order_is_an_error_within_a_step(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainStep.__call__

    def with_put(self: TrainStep, *arguments: Any) -> torch.Tensor:
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # which of the two is left?
        return step(self, *arguments)

    torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # torch lets it pass by itself
    monkeypatch.setattr(TrainStep, "__call__", with_put)
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        train_task(task(tmp_path, digits), lambda event: None)


def test_numerics_are_recorded_in_the_run_folder(tmp_path: Path, digits: Dataset) -> None:
    stack = task(tmp_path, digits)
    train_task(stack, lambda event: None)
    status = RunFolder(stack.working / stack.fingerprints[0]).status()
    assert status["numerics"] == numerics_tag()
    assert status["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("mode", ["portable", "native"])
def test_the_mode_is_what_torch_then_uses(mode: str) -> None:
    """In a process of its own: a mode is chosen once."""
    program = (
        "from lmc_repro.common.numerics import choose_mode, numerics_tag\n"
        f"chosen, remark = choose_mode('{mode}')\n"
        "import torch\n"
        "print(chosen, numerics_tag(), torch.backends.cpu.get_cpu_capability())\n"
    )
    unset = ("LMC_NUMERICS", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")
    command = ["env", *(f"--unset={name}" for name in unset), sys.executable, "-c", program]
    chosen, tag, capability = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert tag.split(":")[0] == chosen
    if chosen == "portable":
        assert capability == "AVX2"
    else:
        assert tag.split(":")[2] == capability
