"""`make bench` on a little random data: every part runs, and the result file has what is read from it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


def bench(out: Path, *parts: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(out), "--only", *parts]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (out / "latest.md").read_text()
    found: dict[str, Any] = json.loads((out / "latest.json").read_text())
    return found


def test_parts_one_after_another_fill_one_file(tmp_path: Path) -> None:
    bench(tmp_path, "minimal")
    found = bench(tmp_path, "curve", "stack", "tracking")
    minimal = found["minimal"]
    ratios = [minimal[key] for key in ("ratio_dataloader", "ratio_ffcv", "sgemm_share", "peak_mb")]
    ratios += [found[key] for key in ("curve_ratio", "stack_ratio", "tracking_share")]
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
    assert found["n"] == minimal["seconds"]["ours"]["n"] == 1
    assert {"machine", "torch", "numerics", "data", "quick"} <= set(found)
    assert found["curves"]["minimal"]["most_counts_apart"] <= 2
    assert "| minimal |" in (tmp_path / "latest.md").read_text()


def test_a_store_grows_by_whole_cells_that_the_commands_find(tmp_path: Path) -> None:
    found = bench(tmp_path, "store")["stored_runs"]
    assert found["runs"] == 8  # a cell, two trainings, a pair; and a copy of each
    assert all(found[name]["seconds"]["median"] > 0 for name in ("list", "again"))
