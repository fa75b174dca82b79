from __future__ import annotations

import json
from pathlib import Path

import pytest
from whole_report import make_unequal, report_of

from lmc_repro.errors import LmcError
from lmc_repro.report.statements import Finding, seed_values, tally
from lmc_repro.schemas.exhibit import Claim, Statement
from lmc_repro.schemas.load import load_params, validate
from lmc_repro.studies.reported import reported_claim, reported_tables

ROOT = Path(__file__).parents[2]


def _findings(folder: Path, *statements: dict[str, object]) -> tuple[Finding, ...]:
    claim = validate(Claim, {"text": "a claim", "statements": [{"text": "s", **s} for s in statements]}, "claims")
    return report_of(folder, claim=claim).parts[0].findings


def test_greater_has_effect_n_and_seeds_in_favour(write_study) -> None:
    (found,) = _findings(write_study("paper"), {"greater": ["adam-high", "sgd-high"], "rows": ["4-layer"]})
    # 1.0, 3.0, 5.0 against 0.2, 0.3, 0.4, pair by pair: 0.8, 2.7, 4.6
    assert found.difference == pytest.approx(2.7)
    assert found.effect == "+2.70 points (+0.80 to +4.60)"
    assert (found.n, found.in_favour, found.outcome) == (3, 3, "holds")
    assert found.cells == "B: ADAM high > SGD high; 4-Layer, BS=1024"


def test_the_other_order_does_not_hold(write_study) -> None:
    (found,) = _findings(write_study("paper"), {"greater": ["sgd-high", "adam-high"], "rows": ["4-layer"]})
    assert (found.in_favour, found.outcome) == (0, "does not hold")
    assert found.difference == pytest.approx(-2.7)


def test_equal_values_are_no_order(write_study) -> None:
    """Two cells of one value: `greater` is strict."""
    folder = write_study("paper")
    cells = json.loads((folder / "cells.json").read_text())
    for source, target in zip(cells[0]["pairs"], cells[1]["pairs"], strict=True):
        for split in ("test", "train"):
            target[split] = source[split]
    (folder / "cells.json").write_text(json.dumps(cells))
    (found,) = _findings(folder, {"greater": ["adam-high", "sgd-high"], "rows": ["4-layer"]})
    assert (found.difference, found.in_favour, found.outcome) == (0.0, 0, "does not hold")


def test_seeds_are_matched_by_trainer_seed_not_by_place(write_study) -> None:
    """8-layer SGD lost seed 2; 4-layer SGD has all: two seeds are shared."""
    (found,) = _findings(write_study("paper"), {"greater": ["8-layer", "4-layer"], "columns": ["sgd-high"]})
    assert (found.n, found.in_favour) == (2, 2)
    assert found.effect == "+0.30 points (+0.30 to +0.40)"  # the means are 0.6 and 0.3


def test_a_cell_without_a_verdict_is_neither(write_study) -> None:
    found = _findings(
        write_study("paper"),
        {"greater": ["adam-high", "sgd-high"], "rows": ["8-layer"]},
        {"connected": ["8-layer"], "columns": ["adam-high"]},
    )
    assert [f.outcome for f in found] == ["no verdict", "no verdict"]
    assert [f.n for f in found] == [0, 0]


def test_not_run_is_said(write_study) -> None:
    found = _findings(
        write_study("paper"),
        {"greater": ["adam-medium", "sgd-high"], "rows": ["4-layer"]},
        {"connected": ["no-such-row"], "columns": ["adam-high"]},
    )
    assert [f.outcome for f in found] == ["not run", "not run"]
    assert tally(found) == "2 not run"


def test_connected_counts_seeds_below_the_threshold(write_study) -> None:
    sgd, adam = _findings(write_study("paper"), {"connected": ["4-layer"], "columns": ["sgd-high", "adam-high"]})
    assert (sgd.outcome, sgd.in_favour, sgd.n, sgd.effect) == ("holds", 3, 3, "0.30 points")
    assert (adam.outcome, adam.in_favour, adam.n) == ("does not hold", 1, 3)


def test_connected_everywhere_fails_with_one_cell(write_study) -> None:
    (found,) = _findings(write_study("paper"), {"connected": "every"})
    assert found.outcome == "does not hold" and found.effect == "2 of 6 cells connected, largest 72.00 points"
    assert (found.in_favour, found.n) == (6, 11)


def test_a_statement_that_rests_on_unequal_ends_is_not_decided(write_study) -> None:
    folder = make_unequal(write_study("paper"), "4-layer--adam-high")
    larger, smaller, chain, normalised, connected, other = _findings(
        folder,
        {"greater": ["adam-high", "sgd-high"], "rows": ["4-layer"]},
        {"greater": ["sgd-high", "adam-high"], "rows": ["4-layer"]},
        {"increasing": ["adam-high", "sgd-high"], "rows": ["4-layer"]},
        {"greater": ["adam-high", "sgd-high"], "rows": ["4-layer"], "of": "normalised"},
        {"connected": ["4-layer"], "columns": ["adam-high"]},
        {"greater": ["adam-medium", "sgd-high"], "rows": ["8-layer"]},
    )
    for found in (larger, smaller, chain, normalised, connected):
        assert (found.holds, found.outcome) == (None, "not decided")
        assert found.effect.endswith("; unequal ends: 4-Layer, BS=1024, ADAM high")
    assert larger.effect.startswith("+2.70 points")
    assert other.outcome == "holds" and "unequal" not in other.effect
    assert tally((larger, other)) == "1 holds, 1 not decided"


def test_a_disconnected_cell_decides_that_not_every_cell_is_connected(write_study) -> None:
    folder = make_unequal(write_study("paper"), "4-layer--adam-high")
    (found,) = _findings(folder, {"connected": "every"})
    assert found.outcome == "does not hold"
    folder = make_unequal(folder, "8-layer--adam-medium")
    (found,) = _findings(folder, {"connected": ["8-layer"], "columns": ["adam-medium"]})
    assert found.outcome == "not decided"


def test_increasing_names_the_step_that_fails(write_study) -> None:
    up, down = _findings(
        write_study("paper"),
        {"increasing": ["sgd-high", "adam-medium"], "rows": ["8-layer"], "of": "normalised"},
        {"increasing": ["adam-medium", "sgd-high"], "rows": ["8-layer"], "of": "normalised"},
    )
    assert (up.outcome, up.effect, up.n, up.in_favour) == ("holds", "0.63 < 75.79 %", 2, 2)
    assert (down.outcome, down.effect) == ("does not hold", "75.79 >= 0.63 %")


def test_a_chain_with_a_hole_does_not_hold_by_what_is_there(write_study) -> None:
    hole, missing, broken = _findings(
        write_study("paper"),
        {"increasing": ["sgd-high", "adam-high", "adam-medium"], "rows": ["8-layer"]},
        {"increasing": ["sgd-high", "adam-high", "adam-medium"], "rows": ["4-layer"]},
        {"increasing": ["adam-medium", "adam-high", "sgd-high"], "rows": ["8-layer"]},
    )
    assert (hole.outcome, missing.outcome, broken.outcome) == ("no verdict", "not run", "does not hold")


def test_the_gap_is_that_of_each_pair(write_study) -> None:
    cell = report_of(write_study("paper")).tables[0].results.cells[1]
    # normalised by the same test accuracy of 95 %: (1.0 - 0.5, 3.0 - 1.0, 5.0 - 1.5) / 0.95
    assert seed_values(cell, "gap") == pytest.approx({0: 0.5 / 0.95, 1: 2.0 / 0.95, 2: 3.5 / 0.95})


@pytest.mark.parametrize(("profile", "epochs"), [("digits", 200), ("paper", 20)])
def test_an_analogue_or_another_length_is_only_seen(write_study, profile: str, epochs: int) -> None:
    found = _findings(
        write_study(profile, epochs=epochs),
        {"greater": ["adam-high", "sgd-high"], "rows": ["4-layer"]},
        {"greater": ["sgd-high", "adam-high"], "rows": ["4-layer"]},
    )
    assert [f.outcome for f in found] == ["seen here", "not seen here"]
    assert tally(found) == "1 seen here, 1 not seen here"


def test_what_the_profile_leaves_out_is_no_statement(write_study) -> None:
    left = [{"rows": None, "columns": ["adam-medium"], "label": "ADAM medium", "why": "the same again"}]
    folder = write_study("digits", left_out=left)
    cells = [cell for cell in json.loads((folder / "cells.json").read_text()) if cell["column"] != "adam-medium"]
    (folder / "cells.json").write_text(json.dumps(cells))
    found = _findings(folder, {"connected": ["8-layer"], "columns": ["sgd-high", "adam-medium"]})
    assert [f.cells for f in found] == ["8-Layer, BS=1024; SGD high"]


def test_every_statement_of_the_paper_names_cells_of_its_study() -> None:
    studies = load_params(ROOT / "params.yaml").studies
    counted = 0
    for key in reported_tables()["claims"]:
        claim = reported_claim(key)
        assert claim is not None and claim.text
        for s in claim.statements:
            rows, columns = studies[key].rows, studies[key].columns
            along, across = (rows, columns) if s.columns else (columns, rows)
            named = s.greater or s.increasing or (s.connected if s.connected != "every" else ()) or ()
            assert set(named) <= set(along) and set(s.columns or s.rows or ()) <= set(across), s.text
            counted += 1
    assert counted == 16


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({"text": "s"}, "give one of greater, increasing, connected"),
        ({"text": "s", "greater": ["a", "b"]}, "give one of rows, columns"),
        ({"text": "s", "connected": "every", "rows": ["a"]}, "none with connected: every"),
        ({"text": "s", "increasing": ["a"], "rows": ["b"]}, "name two cells or more"),
    ],
)
def test_a_statement_that_says_nothing_is_refused(statement: dict[str, object], said: str) -> None:
    with pytest.raises(LmcError, match=said):
        validate(Statement, statement, "claims")


def test_dependent_pairs_of_one_seed_count_once(write_study) -> None:
    """Barriers 1, 3 and 5 of which the first two share their trainer seed: 2 and 5."""
    folder = write_study("paper")
    cells = json.loads((folder / "cells.json").read_text())
    cells[1]["pairs"][1]["trainer_seed"] = 0
    (folder / "cells.json").write_text(json.dumps(cells))
    report = report_of(folder)
    assert seed_values(report.tables[0].results.cells[1], "barrier") == {0: 2.0, 2: 5.0}
    plot = report.parts[0].plot
    assert plot is not None
    (line,) = [line for line in plot.panels["test"][0].series if line.label == "ADAM high"]
    assert line.points[0].seeds == (2.0, 5.0)
    (found,) = _findings(folder, {"greater": ["adam-high", "sgd-high"], "rows": ["4-layer"]})
    assert (found.n, found.in_favour) == (2, 2)  # seeds 0 and 2 are in both cells
    assert found.difference == pytest.approx(3.5 - 0.3)
