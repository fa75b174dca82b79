from __future__ import annotations

import pytest

from lmc_repro.errors import LmcError
from lmc_repro.report.read import read_study
from lmc_repro.report.reproduction import reproduction_page

PAPER = {
    ("1-layer", "sgd-high"): {"test": 0.05, "train": 0.01},
    ("4-layer", "adam-medium"): {"test": 0.07, "train": 0.14},
}


def _page(write_study, **more) -> str:
    return reproduction_page(read_study(write_study("paper")), PAPER, "two cores of a cloud machine", **more)


def test_disagreements_come_first_and_name_both_numbers(write_study) -> None:
    page = _page(write_study)
    top = page[: page.index("## Cells")]
    assert "4-Layer, BS=1024, ADAM high, train: paper disconnected, ours connected (48.91 against 1.00, n 3)" in top
    assert "ADAM high, test: paper" not in top
    assert "8-Layer, BS=1024, ADAM high: no verdict (of 3 pairs 2 diverged and 1 undertrained), neither" in top


def test_cells_give_ours_and_the_papers_and_both_verdicts(write_study) -> None:
    page = _page(write_study, seconds={"4-layer--adam-high": 41.6})
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    header = next(line for line in lines if line[:2] == ["cell", "ours"])
    rows = {line[0]: dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)}
    row = rows["4-Layer, BS=1024, ADAM high"]
    assert row["ours"] == "3.00 / 1.00" and row["paper (MNIST)"] == "47.74 / 48.91"
    assert row["our verdict"] == "test disconnected (strict: mixed), train connected"
    assert row["paper's verdict"] == "disconnected"
    assert (row["width"], row["init"], row["n"], row["sd"]) == ("128", "torch-default", "3", "2.00 / 0.50")
    assert row["seconds a run"] == "42"
    assert rows["4-Layer, BS=1024, ADAM medium"]["ours"] == "not run"
    assert rows["4-Layer, BS=1024, ADAM medium"]["paper (MNIST)"] == "0.07 / 0.14"
    assert rows["8-Layer, BS=1024, SGD high"]["paper's verdict"] == "-"
    assert rows["1-layer, SGD high"]["ours"] == "not run"  # a row that the results do not have
    assert rows["1-layer, ADAM high"]["paper (MNIST)"] == "-"


def test_machine_and_notes_are_said(write_study) -> None:
    page = _page(write_study, notes="The width is a guess.\n")
    assert "- machine: two cores of a cloud machine\n" in page
    assert "## Notes\n\nThe width is a guess.\n" in page
    assert "## Notes" not in _page(write_study)


def test_agreement_counts_the_cells_not_run(write_study) -> None:
    page = _page(write_study)
    assert "| paper connected: 3 cells | 0 | 1 | 0 | 2 |" in page


def test_an_analogue_is_refused(write_study) -> None:
    with pytest.raises(LmcError, match="profile digits is an analogue"):
        reproduction_page(read_study(write_study("digits")), PAPER, "a machine")
