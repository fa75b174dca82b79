from __future__ import annotations

import colorsys
import subprocess
from pathlib import Path

import pytest
from small_study import make_plan

from lmc_repro.config.plan import StudyPlan
from lmc_repro.tracking import names
from lmc_repro.tracking.content import git_commit, text


def test_every_cell_has_a_colour_of_its_own(plan: StudyPlan) -> None:
    colours = [names.cell_colour(plan, cell) for cell in plan.cells]
    assert len(set(colours)) == len(plan.cells) == 4
    for colour in colours:
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert 0.3 < colorsys.rgb_to_hls(*rgb)[1] < 0.7  # seen on white and on black


def test_a_narrowed_plan_keeps_its_colours(plan: StudyPlan) -> None:
    from dataclasses import replace

    one = replace(plan, cells=plan.cells[3:])
    assert names.cell_colour(one, one.cells[0]) == names.cell_colour(plan, plan.cells[3])


def test_names_tell_runs_apart_early() -> None:
    cell = make_plan().cells[0]
    assert names.cell_name(cell) == "fast shallow"
    assert names.pair_name(cell, "0-1-2") == "pair 0-1-2 fast shallow"
    assert len({names.train_name(cell, run.seeds) for run in cell.runs}) == len(cell.runs) == 4


@pytest.mark.parametrize(("value", "expected"), [("adam", "adam"), (None, "null"), (True, "true"), (0.005, "0.005")])
def test_parameters_as_text(value: object, expected: str) -> None:
    assert text(value) == expected


def test_the_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "nowhere") == {}
    (tmp_path / "file").write_text("one")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "file"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert git_commit(tmp_path)["lmc.git_commit"] == head
    git_commit.cache_clear()
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path)["lmc.git_commit"] == f"{head}-dirty"
