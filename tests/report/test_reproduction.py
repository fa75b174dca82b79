from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import Claim, Statement
from lmc_repro.report.contents import Planned
from lmc_repro.report.reproduction import Study, read_parts, reproduction_page

PLANNED = tuple(
    Planned(row, column, f"{row}, {column}", paper, "4-layer MLP, width 9", 6, 1.5e14, hours)
    for row, column, paper, hours in (
        ("4-layer", "sgd-high", {"test": 0.06, "train": 0.05}, 1.0),
        ("4-layer", "adam-medium", {"test": 0.07, "train": 0.14}, 2.5),
        ("1-layer", "sgd-high", None, 20.0),
    )
)


@pytest.fixture
def kept(write_study, tmp_path: Path) -> Path:
    """A folder STUDY/ with one part."""
    folder = tmp_path / "kept" / "table1"
    shutil.copytree(write_study("paper"), folder / "first")
    (folder / "first" / "machine.txt").write_text("two cores of a cloud machine\n")
    return folder


def page(folder: Path, notes: str = "", claim: Claim | None = None) -> str:
    study = Study("table1", "Table 1: linear networks", "Do they?", PLANNED, read_parts(folder), claim=claim)
    return reproduction_page([study], notes)


def rows(text: str, first: str) -> dict[str, dict[str, str]]:
    """Return the tables whose header begins with `first`, by their first column."""
    found, header = {}, None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
        elif header[0] == first and not cells[0].startswith("---"):
            found[cells[0]] = dict(zip(header, cells, strict=True))
    return found


def test_disagreements_come_first_and_name_both_numbers(kept: Path) -> None:
    text = page(kept)
    top = text[: text.index("## Agreement")]
    said = "train: paper disconnected, ours connected (48.91 against 1.00, line 1.00, n 3)"
    assert f"4-Layer, BS=1024, ADAM high, {said}" in top and "ADAM high, test: paper" not in top
    assert "8-Layer, BS=1024, ADAM high: no verdict (of 3 pairs 2 diverged and 1 collapsed), neither" in top


def test_cells_give_ours_and_the_papers_and_both_verdicts(kept: Path) -> None:
    found = rows(page(kept), "cell")  # the later row of a cell: train
    row = found["4-Layer, BS=1024, ADAM high"]
    assert (row["mean"], row["line"], row["verdict"], row["n"], row["sd"]) == ("1.00", "1.00", "connected", "3", "0.50")
    assert (row["paper"], row["paper's verdict"]) == ("48.91", "disconnected")
    assert row["network"] == "4-layer MLP, width 128, slope 1, torch-default"
    assert found["8-Layer, BS=1024, SGD high"]["paper's verdict"] == "-"


def test_what_was_not_run_is_listed_with_its_cost(kept: Path) -> None:
    text = page(kept)
    left = rows(text, "not run")
    assert set(left) == {"4-layer, adam-medium", "1-layer, sgd-high"}
    assert left["4-layer, adam-medium"] == {
        "not run": "4-layer, adam-medium", "network": "4-layer MLP, width 9", "paper": "0.07 / 0.14", "runs": "6",
        "FLOPs": "1.5e+14", "hours of one core": "2.5",
    }  # fmt: skip
    [overview] = rows(text, "study").values()
    assert (overview["cells"], overview["run"], overview["not run"]) == ("3", "1", "2")
    assert overview["hours of one core for these"] == "22"  # 2.5 + 20, rounded to even


def test_a_study_without_results_is_all_not_run(tmp_path: Path) -> None:
    text = page(tmp_path / "nothing")
    assert len(rows(text, "not run")) == 3 and rows(text, "cell") == {}
    [overview] = rows(text, "study").values()
    assert (overview["run"], overview["not run"]) == ("not run", "3")


def test_two_parts_stand_beside_each_other_and_equal_runs_count_once(kept: Path) -> None:
    once = page(kept)
    shutil.copytree(kept / "first", kept / "second")
    (kept / "second" / "notes.md").write_text("The same again.\n")
    twice = page(kept)
    assert "<summary>Part first</summary>" in twice and "<summary>Part second</summary>\n\nThe same again.\n" in twice
    assert once.count("<summary>Part ") == 1
    counts = [line for line in once.splitlines() if line.startswith("| paper connected")]
    assert counts and counts == [line for line in twice.splitlines() if line.startswith("| paper connected")]


def test_machine_and_notes_are_said(kept: Path) -> None:
    (kept / "first" / "notes.md").write_text("The width is a guess.\n")
    text = page(kept, notes="All of it on one machine.")
    assert "- machine: two cores of a cloud machine\n" in text
    assert "The width is a guess.\n" in text and "## Notes\n\nAll of it on one machine.\n" in text
    (kept / "first" / "machine.txt").unlink()
    with pytest.raises(LmcError, match=r"machine\.txt: missing"):
        page(kept)


def test_an_analogue_is_refused(write_study, tmp_path: Path) -> None:
    shutil.copytree(write_study("digits"), tmp_path / "kept" / "first")
    with pytest.raises(LmcError, match="profile digits is an analogue"):
        read_parts(tmp_path / "kept")


def test_statements_that_can_be_held_to_cells_are_shown(kept: Path) -> None:
    statement = Statement(text="B(ADAM) > B(SGD)", greater=("adam-high", "sgd-high"), rows=("4-layer", "16-layer"))
    text = page(kept, claim=Claim(text="ADAM is less connected", statements=(statement,)))
    assert "The paper: ADAM is less connected." in text and "- B(ADAM) > B(SGD): 1 holds\n" in text
    cells = "B: ADAM high > SGD high; 4-Layer, BS=1024"
    assert f"| B(ADAM) > B(SGD) | {cells} | +2.70 points (+0.80 to +4.60) | 3 | 3 of 3 | holds |" in text
    assert "16-layer" not in text  # not run
