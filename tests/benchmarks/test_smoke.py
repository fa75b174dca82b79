"""`make bench` on a little random data: parts run, and the result file has what is read from it."""

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


def test_a_smoke_run_writes_every_number_that_is_read(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--only", "minimal", "curve", "stack", "matching", "tracking"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "latest.md").read_text()
    assert "| minimal |" in done.stdout
    found: dict[str, Any] = json.loads((tmp_path / "latest.json").read_text())
    minimal = found["minimal"]
    ratios = [minimal[key] for key in ("ratio_dataloader", "ratio_ffcv", "sgemm_share", "peak_mb")]
    ratios += [found[key] for key in ("curve_ratio", "stack_ratio", "aligned_ratio", "tracking_share")]
    ratios += [found[f"matching{way}_seconds"]["median"] for way in ("", "_resnet", "_activations")]
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
    assert found["n"] == minimal["seconds"]["ours"]["n"] == 1
    assert all(
        found[f"matching{way}_distance"]["after"] < found["matching_distance"]["before"] for way in ("", "_activations")
    )
    assert {"machine", "torch", "numerics", "data", "quick"} <= set(found)
    assert found["curves"]["minimal"]["most_counts_apart"] <= 2
