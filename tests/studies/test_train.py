from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import run_config

from lmc_repro.common.project import Project
from lmc_repro.pipeline.train import _short_of_disk


def test_a_disk_without_room_for_the_checkpoints_is_told_before_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace: Any = SimpleNamespace(tracked=True, project=Project(tmp_path))
    # digits, one layer: 64 x 10 weights and 10 biases of 4 bytes, at two epochs, of a hundred runs, and MLflow's.
    needed = 650 * 4 * 2 * 100 * 2
    config = run_config(data={"dataset": "digits"}, model={"depth": 1}, evaluate_at=[0, 3])
    asked = []

    def usage(free: int) -> Any:
        return lambda place: asked.append(place) or SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage(needed + 1))
    assert _short_of_disk(workspace, [config] * 100) is None
    monkeypatch.setattr(shutil, "disk_usage", usage(needed))
    line = _short_of_disk(workspace, [config] * 100)
    assert line is not None and line.startswith(f"disk: 1 MB free below {tmp_path}, and 1 MB of checkpoints")
    assert "evaluate_at" in line and "\n" not in line
    assert asked == [tmp_path, tmp_path]
