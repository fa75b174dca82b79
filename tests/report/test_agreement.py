from __future__ import annotations

from dataclasses import replace

import pytest
from whole_report import make_unequal

from lmc_repro.report.agreement import agrees, compared, log_distance, two_by_two, unequal_ends
from lmc_repro.report.grid import study_table
from lmc_repro.results.read import read_study

PAPER = {("4-layer", "adam-medium"): {"test": 0.07, "train": 0.14}}


def test_two_by_two_by_split(write_study) -> None:
    table = study_table(read_study(write_study("paper")), PAPER)
    assert two_by_two(compared([table], "test")) == {
        "disconnected": {"disconnected": 2, "connected": 0, "no verdict": 1, "not run": 0},
        "connected": {"disconnected": 0, "connected": 1, "no verdict": 0, "not run": 1},
    }
    train = two_by_two(compared([table], "train"))
    assert train["disconnected"] == {"disconnected": 1, "connected": 1, "no verdict": 1, "not run": 0}


def test_no_verdict_is_neither_agreement_nor_disagreement(write_study) -> None:
    table = study_table(read_study(write_study("paper")))
    found = {c.entry.cell.key: c for c in compared([table], "train") if c.entry.cell}
    assert found["8-layer--adam-high"].ours == "no verdict"
    assert not found["8-layer--adam-high"].disagrees
    assert found["4-layer--adam-high"].disagrees
    assert not found["8-layer--adam-medium"].disagrees
    assert "8-layer--sgd-high" not in found  # the paper prints no number


def test_unequal_ends_are_counted_by_eq_1_and_named(write_study) -> None:
    folder = write_study("paper")
    before = two_by_two(compared([study_table(read_study(folder))], "test"))
    table = study_table(read_study(make_unequal(folder, "4-layer--adam-high")))
    cells = compared([table], "test")
    assert two_by_two(cells) == before
    assert [(c.entry.label, c.ours, c.disagrees) for c in cells if c.unequal_ends] == [
        ("4-Layer, BS=1024, ADAM high", "disconnected", False)
    ]
    assert unequal_ends(cells).count("4-Layer, BS=1024, ADAM high") == 1
    assert unequal_ends(compared([table], "train")) == ""
    assert "4-Layer, BS=1024, ADAM high" in agrees(table)


def test_nothing_to_lose_is_neither_agreement_nor_disagreement(write_study) -> None:
    """Numbers without a verdict: Eq. 1 of 3.00 points is no agreement with a paper that has 47.74."""
    table = study_table(read_study(write_study("paper")))
    entry = next(e for e in table.entries if e.cell and e.cell.key == "4-layer--adam-high")
    lost = {s: replace(old, verdict=None, verdict_strict=None) for s, old in entry.cell.summary.items()}
    one = replace(table, entries=(replace(entry, cell=replace(entry.cell, summary=lost)),))
    assert [(c.paper, c.ours, c.disagrees) for c in compared([one], "test")] == [("disconnected", "no verdict", False)]


def test_an_analogue_and_other_epochs_count_nothing(write_study) -> None:
    assert compared([study_table(read_study(write_study("digits")))], "test") == []
    assert compared([study_table(read_study(write_study("paper", epochs=20)))], "test") == []


def test_runs_that_two_studies_share_count_once(write_study) -> None:
    tables = [study_table(read_study(write_study("paper", study=study))) for study in ("table1", "figure1")]
    assert len(compared(tables, "test")) == len(compared(tables[:1], "test")) == 4


def test_of_a_cell_that_was_run_in_several_ways_the_one_with_most_seeds_counts(write_study) -> None:
    table = study_table(read_study(write_study("paper")))
    entry = next(e for e in table.entries if e.cell and e.cell.key == "4-layer--adam-high")
    assert entry.n >= 2 and entry.verdict("test") == "disconnected"
    summary = {s: replace(old, values=old.values[:1], verdict="connected") for s, old in entry.cell.summary.items()}
    pairs = tuple(replace(pair, fingerprints=("a", "b")) for pair in entry.cell.pairs[:1])
    wider = replace(entry, cell=replace(entry.cell, pairs=pairs, summary=summary))
    for tables in ([table, replace(table, entries=(wider,))], [replace(table, entries=(wider,)), table]):
        assert two_by_two(compared(tables, "test")) == two_by_two(compared([table], "test"))


def test_log_distance() -> None:
    assert log_distance(0.0, 0.9) == pytest.approx(1.0) and log_distance(99.9, 0.9) == pytest.approx(2.0)
    assert log_distance(9.9, 9.9) == 0.0 and log_distance(None, 1.0) is None
