"""However a study is trained, its run folders have the same bytes: weights, evaluation epochs, metrics, sha256."""

from __future__ import annotations

import pytest
from helpers import contents
from small import OUT, Small, rows

WAYS = {  # the undisturbed study: two jobs, stacks of two, resident data
    "1 job, all in one stack": (1, "resident", {}),
    "4 jobs, each run alone": (4, "resident", {}),
    "ffcv, 1 worker": (2, "ffcv", {"workers": 1}),
    "ffcv, 4 workers": (2, "ffcv", {"workers": 4}),
}


@pytest.mark.parametrize("jobs, loader, more", WAYS.values(), ids=WAYS)
def test_same_run_folders(jobs: int, loader: str, more: dict[str, int], whole: Small, small: Small) -> None:
    params = small.root / "params.yaml"
    params.write_text(params.read_text().replace('"loader": "resident"', f'"loader": "{loader}"'))
    printed = small.run("train", "one", "--jobs", str(jobs), **more)
    assert "trained 4" in printed and f"training 4 runs in {jobs} stack" in printed
    expected = contents(whole.root / OUT / "runs")
    assert sum(name.endswith("epoch-0004.safetensors") for name in expected) == 4
    assert contents(small.root / "runs" / "one") == expected


def test_re_made(whole: Small) -> None:
    """From MLflow alone, in a fresh folder."""
    ((run,), *_) = rows(whole.root, "SELECT run_uuid FROM tags WHERE key = 'lmc.kind' AND value = 'train'")
    printed = whole.run("reproduce", run)
    assert "trained 1 in " in printed and "checkpoints        3 of 3 identical" in printed
    assert printed.splitlines()[-1] == "identical: every recorded bit was made again"
