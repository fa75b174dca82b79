from __future__ import annotations

import json
from pathlib import Path

import pytest
from whole_report import report_of

from lmc_repro.errors import LmcError
from lmc_repro.report.contents import Asked, read_report
from lmc_repro.report.write import report_markdown, write_report


def _line(text: str, start: str) -> list[str]:
    """The cells of the first table row that begins with `start`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def _report(folder: Path) -> str:
    return report_markdown(report_of(folder))


def test_files_and_their_bytes(write_study, tmp_path: Path) -> None:
    folder = write_study()
    studies = {"table1": Asked("Table 1"), "figure1": Asked("Figure 1")}
    written = write_report(read_report(folder.parent, studies), tmp_path / "report")
    names = [str(path.relative_to(tmp_path / "report")) for path in written]
    assert names == [
        *(f"figures/table1{which}.{kind}" for which in ("", "-values") for kind in ("png", "svg")),
        "index.html",
        "report.md",
        "metrics.json",
    ]
    first = [path.read_bytes() for path in written]
    write_report(read_report(folder.parent, studies), tmp_path / "report")
    assert [path.read_bytes() for path in written] == first
    assert first[0].startswith(b"\x89PNG") and first[1].startswith(b"<?xml")


def test_the_papers_numbers_stand_under_their_own_heading(write_study) -> None:
    text = _report(write_study())
    head = _line(text, "test / train |")
    row = _line(text, "4-Layer, BS=1024 |")
    assert head == ["test / train"] + [
        h for c in ("SGD high", "ADAM high", "ADAM medium") for h in (c, "paper (MNIST)")
    ]
    assert row[head.index("ADAM high")].startswith("**3.00** / 1.00<br>line 3.00 / 1.00<br>1.00-5.00 / 0.50-1.50")
    assert row[head.index("ADAM high") + 1] == "47.74 / 48.91"
    assert "test disconnected (strict: mixed), train connected" in row[3]
    assert "n 3, B(test) U(test)" in row[3]
    assert row[head.index("ADAM medium") :] == ["not run", "-"]


def test_collapsed_cells_say_why_and_show_their_error(write_study) -> None:
    text = _report(write_study())
    row = _line(text, "8-Layer, BS=1024 |")
    assert row[3] == "no verdict<br>of 3 pairs 2 diverged and 1 collapsed"
    assert row[1].endswith("n 2, P<br>not counted: of 3 pairs 1 diverged")
    details = _line(text, "8-Layer, BS=1024, ADAM high | test")
    assert details[2] == "0" and "90.00" in details and "connected" not in details


def test_details_hold_sd_floor_line_and_late_marks(write_study) -> None:
    text = _report(write_study())
    named = dict(zip(_line(text, "cell | split"), _line(text, "4-Layer, BS=1024, ADAM high | test"), strict=True))
    assert named["sd"] == "2.00" and named["floor"] == "0.00" and named["line"] == "3.00"
    assert named["strict"] == "mixed" and named["flags"] == "B U"
    assert named["last marks"] == "1 connected, 4 disconnected, 0.60-3.00"
    two = dict(zip(_line(text, "cell | split"), _line(text, "8-Layer, BS=1024, SGD high | test"), strict=True))
    assert two["sd"] == "-" and two["n"] == "2"


def test_an_analogue_says_so_and_counts_no_agreement(write_study) -> None:
    text = _report(write_study("digits"))
    assert "An analogue on other data (digits), not a reproduction" in text
    assert "Agreement" not in text and "judged on" not in text


def test_the_papers_data_set_counts_agreement_without_a_percentage(write_study) -> None:
    text = _report(write_study("paper"))
    assert "analogue" not in text
    assert _line(text, "paper disconnected: 3 cells") == ["paper disconnected: 3 cells", "2", "0", "1", "0"]
    assert _line(text, "paper connected: 1 cells")[1:] == ["0", "1", "0", "0"]
    agreement = text[text.index("## Agreement") :]
    assert "%" not in agreement
    assert "| 8-Layer, BS=1024, ADAM high |" not in agreement  # no verdict has no distance


def test_heading_gives_what_the_numbers_were_made_with(write_study) -> None:
    text = _report(write_study())
    for said in (
        "2000 training and 1000 test images",
        "one image in points: digits 0.1 test, 0.05 train",
        "device cpu, numerics portable, torch 2.14.1",
        "- width: 128",
        "- init: torch-default",
        "- epochs: 200",
        "| `settings.width` | 128 | ours: small enough |",
    ):
        assert said in text


def test_a_study_without_results_is_not_run(tmp_path: Path) -> None:
    write_report(read_report(tmp_path / "results", {"table1": Asked("Table 1")}), tmp_path / "report")
    assert "## Table 1\n\nnot run: no results" in (tmp_path / "report" / "report.md").read_text()
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == {}


def test_metrics_are_numbers_and_null_without_a_verdict(write_study, tmp_path: Path) -> None:
    write_report(report_of(write_study()), tmp_path / "report")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())["table1"]
    assert metrics["4-layer--adam-high"] == {
        "n": 3,
        "test_barrier": 3.0,
        "test_line": 3.0,
        "test_disconnected": 1,
        "train_barrier": 1.0,
        "train_line": 1.0,
        "train_disconnected": 0,
    }
    assert metrics["8-layer--adam-high"]["test_barrier"] is None
    assert metrics["8-layer--adam-high"]["test_disconnected"] is None
    assert "4-layer--adam-medium" not in metrics


def test_damage_leaves_the_old_report(write_study, tmp_path: Path) -> None:
    folder = write_study()
    write_report(report_of(folder), tmp_path / "report")
    before = (tmp_path / "report" / "report.md").read_text()
    (folder / "cells.json").write_text("[{")
    with pytest.raises(LmcError, match=r"cells\.json"):
        write_report(report_of(folder), tmp_path / "report")
    assert (tmp_path / "report" / "report.md").read_text() == before
