"""`lmc run` as it is typed: an output folder fills up cell by cell, and what becomes of the runs is told first."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import lmc
from trained_store import write_params

from lmc_repro.common.project import Project
from lmc_repro.pipeline.train import _plan_line

pytestmark = pytest.mark.slow


def run(*words: object) -> tuple[list[str], str]:
    """Run study `one` and return the keys of the cells that out/ holds then, and what was said of its runs."""
    code, _, err = lmc("run", "one", "--jobs", "1", "--no-tracking", *words)
    assert code == 0, err
    (results,) = Path("out").glob("*/one/results/one")
    cells = json.loads((results / "cells.json").read_text())
    (told,) = re.findall(r"^\d+ runs: (.*)$", err, re.MULTILINE)
    return [cell["cell"] for cell in cells], told


def test_cells_of_the_same_settings_accumulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(Project(tmp_path))
    monkeypatch.chdir(tmp_path)
    deep, shallow = ("--row", "deep", "--column", "fast"), ("--row", "shallow", "--column", "fast")
    assert run(*deep, "--pairs", 1)[0] == ["deep--fast"]
    (results,) = Path("out").glob("*/one/results/one")
    alone = json.loads((results / "cells.json").read_text())
    cells, told = run(*shallow, "--pairs", 1)
    assert cells == ["shallow--fast", "deep--fast"] and told.startswith("2 reused, ")
    assert json.loads((results / "cells.json").read_text())[1:] == alone
    assert run(*shallow, "--pairs", 1) == (cells, "4 reused, 0 to train")
    assert run(*shallow, "--pairs", 1, "--epochs", 1)[0] == ["shallow--fast"]  # other settings: deep--fast goes


def test_what_becomes_of_the_runs() -> None:
    assert _plan_line(3, [0, 0, 0]) == "3 runs: 0 reused, 3 to train"
    assert _plan_line(5, [0, 4, 2]) == "5 runs: 2 reused, 2 resumed at epoch 2 to 4, 1 to train"
    assert _plan_line(1, [7]) == "1 run: 0 reused, 1 resumed at epoch 7, 0 to train"
