"""However a study is trained, its run folders have the same bytes: final weights, marks, metrics, checksums."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures import note
from small import OUT, Small, contents, rows

WAYS = {  # the undisturbed study: two jobs, stacks of two, resident data
    "1 job, all in one stack": {"jobs": 1},
    "4 jobs, each run alone": {"jobs": 4},
    "ffcv, 1 worker": {"jobs": 2, "loader": "ffcv", "workers": 1},
    "ffcv, 4 workers": {"jobs": 2, "loader": "ffcv", "workers": 4},
}
SAME: list[str] = []


@pytest.mark.parametrize("way", WAYS)
def test_same_run_folders(way: str, undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    how = WAYS[way]
    small = fresh.copy(tmp_path / "project")
    if "loader" in how:
        params = small.root / "params.yaml"
        params.write_text(params.read_text().replace('"loader": "resident"', f'"loader": "{how["loader"]}"'))
    said = small.run("train", "one", "--jobs", str(how["jobs"]), **{k: how[k] for k in ("workers",) if k in how})
    assert "trained 4" in said
    stacks = {1: 1, 2: 2, 4: 4}[int(how["jobs"])]
    assert f"training 4 runs in {stacks} stacks" in said
    expected = contents(undisturbed[0].root / OUT / "runs")
    assert sum(name.endswith("epoch-0004.safetensors") for name in expected) == 4
    assert contents(small.root / "runs" / "one") == expected
    SAME.append(way)
    note("same weights", f"as with 2 jobs, stacks of 2, resident data: {', '.join(SAME)}")


def test_re_made(undisturbed: tuple[Small, float]) -> None:
    """From MLflow alone, in a fresh folder."""
    small = undisturbed[0]
    ((run,), *_) = rows(small.root, "SELECT run_uuid FROM tags WHERE key = 'lmc.kind' AND value = 'train'")
    printed = small.run("reproduce", run)
    assert "trained 1 in " in printed and "checkpoints        3 of 3 identical" in printed
    assert printed.splitlines()[-1] == "identical: every recorded bit was made again"
    SAME.append("re-made")
    note("same weights", f"as with 2 jobs, stacks of 2, resident data: {', '.join(SAME)}")
