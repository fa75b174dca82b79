from __future__ import annotations

import io

import pytest
from rich.console import Console

from lmc_repro.report.table import study_table
from lmc_repro.report.terminal import print_table
from lmc_repro.results.read import read_study


def _printed(folder, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(study_table(read_study(folder)), console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [140, 80, 44])
def test_every_number_is_there_at_every_width(write_study, width: int) -> None:
    text = _printed(write_study(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for number in ("0.30 / 0.10", "3.00 / 1.00", "72.00 / 60.00", "47.74 / 48.91", "no verdict", "not run"):
        assert number in text
    assert "paper (MNIST)" in text
    assert "P  provisional" in text and "E  endpoint" not in text


def test_the_papers_number_stands_below_its_heading(write_study) -> None:
    lines = _printed(write_study(), 140).splitlines()
    at = next(i for i, line in enumerate(lines) if "47.74 / 48.91" in line)
    column = lines[at].index("47.74")
    assert lines[at - 1][column:].startswith("paper (MNIST)")


def test_agreement_only_for_the_papers_own_data(write_study) -> None:
    analogue = _printed(write_study("digits"), 200)
    assert "analogue" in analogue and "in the paper" not in analogue
    text = _printed(write_study("paper"), 200)
    counts = "ours disconnected 2, ours connected 0, no verdict 1, not run 0"
    assert f"test, of 3 cells that are disconnected in the paper: {counts}" in text
