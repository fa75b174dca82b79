"""The report as a document: its numbers are those of the files, the paper's stand apart, an analogue counts nothing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from whole_report import (
    change_cells,
    document_of,
    items,
    make_unequal,
    report_of,
    said,
    section,
    table,
    tables,
    without_column,
)

from lmc_repro.config.exhibit import Claim, Statement
from lmc_repro.report.agreement import NOT_COUNTED, NOTHING_COUNTED, compared
from lmc_repro.report.contents import Asked, Planned, Report, StudyPart, overview, read_report, total
from lmc_repro.report.details import SUMMARY, summary_table
from lmc_repro.report.document import grid_table, overview_table, report_document, study_section
from lmc_repro.report.grid import paper_name
from lmc_repro.report.html import html_page
from lmc_repro.report.model import Cell, Figure, Paragraph, Section, Value, cell_of, flat
from lmc_repro.report.text import markdown, print_block
from lmc_repro.report.value_figure import value_plot
from lmc_repro.report.write import report_json

LEFT = [{"rows": None, "columns": ["adam-medium"], "label": "ADAM medium", "why": "the same again"}]
CLAIM = Claim(
    text="depth hurts", statements=(Statement(text="connected(4)", connected=("4-layer",), columns=("sgd-high",)),)
)


undrawn = pytest.mark.usefixtures("undrawn")


def planned(row: str, column: str) -> Planned:
    return Planned(row, column, f"{row}, {column}", None, "mlp", 6, 2e12, 0.25)


def bare(value: Value) -> Cell:
    return replace(cell_of(value), curves=None)


def table_rows(document: Section, name: str) -> list[dict[str, str]]:
    return table(section(document, name), "cell")


@undrawn
def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def test_numbers_of_the_details_are_those_of_the_files(write_study) -> None:
    folder = write_study()
    document = document_of(folder)
    summaries = tables(section(document, "Cells and splits"), "cell")[0]
    pairs, ends = tables(section(document, "Pairs"), "cell")
    settings = {row["in MLflow"]: row for row in table_rows(document, "Configurations, runs in MLflow")}
    cells = json.loads((folder / "cells.json").read_text())
    assert len(summaries) == 2 * len(cells) and len(pairs) == 2 * len(ends) == 2 * 3 * len(cells)
    assert len(settings) == len(cells)
    for i, cell in enumerate(cells):
        label = f"{cell['row_label']}, {cell['column_label']}"
        for row, split in zip(summaries[2 * i : 2 * i + 2], ("test", "train"), strict=True):
            numbers = cell[split]
            assert (row["cell"], row["split"]) == (label, split)
            assert row["n"] == str(len(numbers["values"]))
            assert row["values"] == (", ".join(number(value) for value in numbers["values"]) or "-")
            for name, key in (("mean", "mean"), ("median", "median"), ("sd", "sd"), ("line", "line_mean")):
                assert row[name] == number(numbers[key]), (cell["cell"], split, name)
            assert row["verdict"] == (numbers["verdict"] or "no verdict")
        for row in pairs[6 * i : 6 * i + 6]:
            numbers = next(p for p in cell["pairs"] if p["pair"] == row["pair"])[row["split"]]
            assert row["cell"] == label
            assert (row["barrier"], row["middle"]) == (number(numbers["barrier"]), number(numbers["midpoint_excess"]))
            assert row["errors of the ends"] == f"{numbers['error_0']:.2f} / {numbers['error_1']:.2f}"
        for row, pair in zip(ends[3 * i : 3 * i + 3], cell["pairs"], strict=True):
            assert [row["status of θ₀"], row["of θ₁"]] == pair["status"]
            assert row["fingerprints of θ₀ and θ₁"] == "; ".join(pair["fingerprints"])
        facts = settings[f"tags.`lmc.cell` = '{cell['cell']}'"]
        assert facts["model.depth"] == str(cell["config"]["model"]["depth"])
        assert "model.width" not in facts and "parameters" not in facts  # the same in every cell


def test_small_curves_are_those_of_the_files_on_one_scale(write_study) -> None:
    grid = grid_table(report_of(write_study()).tables[0])
    curves = {value.lines[0]: value.curves for row in grid.rows for value in row if isinstance(value, Cell)}
    found = curves["3.00 / 1.00"]
    assert found is not None and found.lines[4] == ("test", ((0.0, 5.0), (0.5, 8.0), (1.0, 5.0)))  # pair 1 after train
    assert [kind for kind, _ in found.lines] == ["train"] * 3 + ["test"] * 3
    assert {drawn.top for drawn in curves.values() if drawn is not None} == {90.0} and curves["not run"] is None
    lost = curves["no verdict"]
    assert lost is not None and {kind for kind, _ in lost.lines} == {"untrained"}


@pytest.mark.usefixtures("only_svg")
def test_a_study_of_ones_own_is_all_that_its_report_speaks_of(write_study) -> None:
    folder = write_study(study="mine", provenance=[])
    keys = [cell["cell"] for cell in json.loads((folder / "cells.json").read_text())]
    change_cells(folder, **{key: {"paper": None} for key in keys})
    report = report_of(folder)
    assert not report.of_paper and not report.tables[0].with_paper
    console = Console(file=io.StringIO(), width=200)
    print_block(study_section(report.parts[0]), console)
    document = report_document(report)
    for text in (html_page(document), markdown(document), console.file.getvalue()):
        text = text[text.find("<body>") :] if "<body>" in text else text
        assert "paper" not in re.sub(r"var\(--paper\)", "", text).lower() and "analogue" not in text.lower()
        assert "Table 1: linear networks" in text and "3.00 / 1.00" in text
    two = read_report(folder.parent, {"mine": Asked("a title"), "other": Asked("another")})
    assert [(line.exhibit, line.key) for line in overview(two)] == [("Ours", "mine"), ("Ours", "other")]
    assert overview_table(two).header == ("subject", "outcome", "here")
    assert read_report(folder.parent, {"table1": Asked("of the paper")}).of_paper


@undrawn
@pytest.mark.parametrize(
    ("profile", "own", "listed"), [("digits", True, False), ("paper", True, True), ("digits", False, True)]
)
def test_a_flag_of_the_papers_cases_is_listed_where_it_occurs(
    write_study, profile: str, own: bool, listed: bool
) -> None:
    """MNIST, where ReLU under SGD is held to the paper's train errors, is that of profile `paper`."""
    folder = write_study(profile, study="mine" if own else "table1", slope=0.0)
    if own:
        keys = [cell["cell"] for cell in json.loads((folder / "cells.json").read_text())]
        change_cells(folder, **{key: {"paper": None} for key in keys})
    report = report_of(folder)
    assert report.of_paper != own
    words = items(section(report_document(report), "words"))
    assert {"P", "B", "U", "T", "C"} < words.keys() and ("N" in words) == listed


def test_the_papers_numbers_stand_under_their_own_heading(write_study) -> None:
    grid = grid_table(report_of(write_study()).tables[0])
    columns = ("SGD high", "ADAM high", "ADAM medium")
    assert grid.header == ("test / train", *(name for c in columns for name in (c, "paper (MNIST)")))
    assert grid.paper == {2, 4, 6}
    four, eight = grid.rows
    assert bare(four[3]) == Cell(
        (
            "3.00 / 1.00",
            "test disconnected (strict: mixed), train connected",
            "L 3.00 / 1.00, n 3, B(test) U(test)",
        ),
        strong=True,
        kind="disconnected",
    )
    assert four[4] == "47.74 / 48.91" and four[5:] == (Cell(("not run",), kind="not-run"), "-")
    assert bare(eight[3]) == Cell(("no verdict", "of 3 pairs 2 diverged and 1 collapsed"), kind="no-verdict")
    assert eight[1].lines[-2:] == ("L 0.60 / 0.20, n 2, P", "not counted: of 3 pairs 1 diverged")
    strong = [value.lines[0] for row in grid.rows for value in row if isinstance(value, Cell) and value.strong]
    assert strong == ["3.00 / 1.00", "72.00 / 60.00"]


@undrawn
def test_a_summary_holds_sd_floor_line_and_late_epochs(write_study) -> None:
    report = report_of(write_study())
    rows = [dict(zip(SUMMARY, map(flat, row), strict=True)) for row in summary_table(report.tables[0]).rows]
    adam = next(row for row in rows if (row["cell"], row["split"]) == ("4-Layer, BS=1024, ADAM high", "test"))
    assert (adam["sd"], adam["floor"], adam["line"], adam["strict"]) == ("2.00", "0.00", "3.00", "mixed")
    assert (adam["flags"], adam["last epochs"]) == ("B U", "1 connected, 4 disconnected, 0.60-3.00")
    lost = next(row for row in rows if (row["cell"], row["split"]) == ("8-Layer, BS=1024, ADAM high", "test"))
    assert (lost["n"], lost["verdict"], lost["mean"], lost["error of the ends"]) == ("0", "no verdict", "-", "90.00")
    two = next(row for row in rows if row["cell"] == "8-Layer, BS=1024, SGD high")
    assert (two["n"], two["sd"]) == ("2", "-")


@undrawn
def test_an_analogue_and_other_epochs_count_no_agreement(write_study) -> None:
    document = document_of(write_study("digits"))
    assert sum(NOT_COUNTED in text for text in said(document)) == 1
    assert "agreement" not in document.keys("html")
    document = document_of(write_study("paper", epochs=20))
    assert said(section(document, "agreement")) == [NOTHING_COUNTED]
    assert not any("agrees)" in text for text in said(document))


@undrawn
def test_the_papers_data_set_counts_agreement_without_a_percentage(write_study) -> None:
    document = document_of(write_study("paper"))
    agreement = section(document, "agreement")
    test = table(agreement, "cells")
    assert [list(row.values())[1:] for row in test] == [["2", "0", "1", "0"], ["0", "1", "0", "0"]]
    assert not any("%" in text for text in said(agreement))
    distances = [row["cell"] for row in table(agreement, "cell")]
    assert len(distances) == 3 and "8-Layer, BS=1024, ADAM high" not in distances  # no verdict has no distance
    judged = [
        (row["verdict"], row["paper"], row["paper's verdict"]) for row in table_rows(document, "Cells and splits")
    ]
    assert judged[2:4] == [("disconnected", "47.74", "disconnected"), ("connected", "48.91", "disconnected")]
    assert judged[6] == ("no verdict", "68.22", "disconnected") and judged[4] == ("connected", "-", "-")
    assert not any(NOT_COUNTED in text for text in said(document))


def test_settings_and_their_sources(write_study) -> None:
    document = document_of(write_study())
    found = items(section(document, "Settings and versions"))
    assert (found["width"], found["init"], found["epochs"], found["threshold"]) == (
        "128", "torch-default", "200", "2 points",
    )  # fmt: skip
    assert re.findall(r"\d+", found["data"])[:3] == ["2000", "1000", "10"]
    assert found["resolution"].endswith("digits 0.1 test, 0.05 train")
    assert "torch 2.14.1" in found["made with"] and "numerics portable" in found["made with"]
    rows = table(section(document, "provenance"), "hyper-parameter")
    assert rows[1] == {"hyper-parameter": "`settings.model.width`", "value": "128", "source": "ours: small enough"}


def test_every_exhibit_of_the_paper_is_named_once_in_its_order() -> None:
    lines = overview(Report((StudyPart("table1", None, Asked("Table 1")),)))
    assert [line.exhibit for line in lines] == [
        *(f"Table {i}" for i in range(1, 5)), *(f"Figure {i}" for i in range(1, 6)), "Text",
        *(f"Appendix {letter}" for letter in "ACDE"),
    ]  # fmt: skip
    assert [line.key for line in lines] == ["table1", *[None] * 13] and overview(Report(())) == []


@undrawn
def test_a_report_of_own_studies_names_no_exhibit_of_the_paper() -> None:
    lines = overview(Report((StudyPart("mine", None, Asked("Mine", {}, None, "digits")),)))
    assert [(line.exhibit, line.subject, line.key) for line in lines] == [("Ours", "Mine", "mine")]


@undrawn
def test_outcomes_count_verdicts_and_statements(write_study) -> None:
    report = report_of(write_study("paper"), claim=CLAIM)
    (line,) = [line for line in overview(report) if line.key]
    assert (line.exhibit, line.key) == ("Table 1", "table1")
    assert line.outcome == (
        "6 cells on mnist: 2 connected, 2 disconnected, 1 no verdict, 1 not run; statements: 1 holds."
    )
    (row,) = table(report_document(report), "statement")
    assert (row["outcome"], row["n"], row["seeds in favour"]) == ("holds", "3", "3 of 3")


@undrawn
def test_unequal_ends_are_a_verdict_of_their_own(write_study) -> None:
    folder = make_unequal(write_study("paper"), "4-layer--adam-high")
    claim = Claim(text="c", statements=(Statement(text="s", connected=("4-layer",), columns=("adam-high",)),))
    report = report_of(folder, claim=claim)
    counted = "2 connected, 1 disconnected, 1 unequal ends, 1 no verdict, 1 not run"
    assert report.parts[0].outcome == f"6 cells on mnist: {counted}; statements: 1 not decided."
    cell = grid_table(report.tables[0]).rows[0][3]
    assert isinstance(cell, Cell) and cell.lines[2].startswith("L 0.50 / 1.00,") and not cell.strong
    assert cell.kind == "unequal-ends" and cell.lines[1] == "test unequal ends, train connected"
    document = report_document(report)
    named = [text for text in said(section(document, "agreement")) if "Table 1, 4-Layer, BS=1024, ADAM high" in text]
    assert len(named) == 1
    found = json.loads(report_json(report))["studies"]["table1"]["cells"][1]
    assert (found["test"]["verdict"], found["test"]["line_mean"]) == ("unequal ends", 0.5)


@undrawn
def test_left_out_is_said_once_and_is_not_not_run(write_study) -> None:
    folder = without_column(write_study(left_out=LEFT), "adam-medium")
    report = report_of(folder)
    assert [column.key for column in report.tables[0].columns] == ["sgd-high", "adam-high"]
    assert report.parts[0].outcome == "4 cells on digits: 2 connected, 1 disconnected, 1 no verdict."
    assert items(document_of(folder))["left out"] == "ADAM medium (the same again)"
    report = report_of(write_study(left_out=[LEFT[0] | {"rows": ["4-layer"]}]))  # its column has another cell
    entries = {(e.row.key, e.column.key): e for e in report.tables[0].entries}
    assert entries["4-layer", "adam-medium"].left_out and not entries["8-layer", "adam-medium"].left_out
    assert "1 left out" in report.parts[0].outcome and "not run" not in report.parts[0].outcome


def test_what_was_not_run_has_costs_and_reasons(write_study) -> None:
    why = "data set cifar10 is absent: no network"
    cells = (planned("4-layer", "sgd-high"), planned("4-layer", "adam-medium"), planned("16-layer", "sgd-high"))
    report = report_of(write_study("paper", not_run={"4-layer--adam-medium": why}), planned=cells, profile="paper")
    found = [(cell.label, cell.reason) for cell in report.not_run]
    assert found == [("4-layer, adam-medium", why), ("16-layer, sgd-high", "not chosen")]
    assert "under a minute of one core" in total([])
    assert total(report.not_run) == "2 cells, 4.0e+12 FLOPs, about 0.5 hours of one core (100 GFLOP/s)"
    document = report_document(report)
    assert [block.key for block in document.blocks if isinstance(block, Section)][-2] == "not-run"
    assert list(table(section(document, "not-run"), "study")[0].values()) == [
        "a title", "4-layer, adam-medium", "2.0e+12", "0.2", why,
    ]  # fmt: skip
    other = report_of(write_study("digits"), planned=cells, profile="paper")
    assert other.not_run == []  # results of another profile than the plan's say nothing about what is missing


@undrawn
def test_a_study_without_results_and_one_that_cannot_be_planned(tmp_path: Path) -> None:
    studies = {
        "figure1": Asked("Figure 1", profile="paper", planned=(planned("slope-0", "4-layer"),)),
        "figure2": Asked("Figure 2", profile="paper", unplanned="params.yaml: studies.figure2: no such data set"),
    }
    report = read_report(tmp_path, studies)
    assert [(cell.study, cell.reason, cell.flops) for cell in report.not_run] == [
        ("figure1", "no results; `lmc run figure1`", 2e12),
        ("figure2", "params.yaml: studies.figure2: no such data set", None),
    ]
    assert total(report.not_run).startswith("1 cell, 2.0e+12")
    assert "`lmc run figure1`" in said(section(report_document(report), "study-figure1"))[0]


def test_a_study_whose_data_are_absent_has_reasons_and_no_numbers(write_study) -> None:
    why = "data set mnist is absent: no network"
    folder = write_study("paper", datasets=[], not_run={"4-layer--sgd-high": why})
    (folder / "cells.json").write_text("[]")
    (folder / "curves.csv").write_text("study,cell,pair,epoch,split,alpha,wrong,n,loss\n")
    report = report_of(folder, claim=CLAIM, profile="paper", planned=(planned("4-layer", "sgd-high"),))
    assert report.parts[0].outcome == "6 cells: 6 not run; statements: 1 not run."
    assert [cell.reason for cell in report.not_run] == [why]
    assert [figure.name for figure in report_document(report).figures()] == ["table1"]  # no plot of no values


def test_the_papers_data_set_is_the_one_that_the_study_names(write_study) -> None:
    """The same cells on MNIST: comparable where the study says MNIST, not where it says CIFAR-10."""
    assert len(compared(report_of(write_study("paper")).tables, "test")) == 4
    assert compared(report_of(write_study("paper", dataset="cifar10")).tables, "test") == []
    columns = [
        {"key": key, "label": key, "dataset": "mnist" if key == "sgd-high" else "cifar10", "varies": None}
        for key in ("sgd-high", "adam-high", "adam-medium")
    ]
    by_axis = report_of(write_study("paper", dataset=None, columns=columns))
    assert [c.entry.column.key for c in compared(by_axis.tables, "test")] == ["sgd-high"]
    assert paper_name(by_axis.tables[0].results).startswith("paper (MNIST, ")


@pytest.mark.parametrize(
    ("profile", "slope", "flagged"), [("paper", 0.0, True), ("paper", 1.0, False), ("digits", 0.0, False)]
)
def test_relu_networks_that_did_not_converge_are_marked(write_study, profile: str, slope: float, flagged: bool) -> None:
    """All trained ends have a train error of 2 %; only ReLU, SGD and MNIST together are held to 0.1 %."""
    found = report_of(write_study(profile, slope=slope)).tables[0]
    marked = {cell.key for cell in found.results.cells if "not_converged" in cell.summary["test"].flags}
    assert marked == ({"4-layer--sgd-high", "8-layer--sgd-high"} if flagged else set())
    first = grid_table(found).rows[0][1]
    assert isinstance(first, Cell) and first.lines[-1] == f"L 0.30 / 0.10, n 3{', N' if flagged else ''}"


def test_a_train_error_of_a_tenth_of_a_percent_has_converged(write_study) -> None:
    folder = write_study("paper", slope=0.0)
    found = {}
    for error in (0.1, 0.15):
        pairs = json.loads((folder / "cells.json").read_text())[0]["pairs"]
        pairs = [pair | {"train": pair["train"] | {"error_0": 0.0, "error_1": error}} for pair in pairs]
        change_cells(folder, **{"4-layer--sgd-high": {"pairs": pairs}})
        found[error] = "not_converged" in report_of(folder).tables[0].results.cells[0].summary["train"].flags
    assert found == {0.1: False, 0.15: True}


def test_files_without_the_later_entries_are_still_read(write_study) -> None:
    folder = write_study("paper")
    runs = json.loads((folder / "runs.json").read_text())
    for key in ("dataset", "show", "left_out", "not_run"):
        del runs[key]
    (folder / "runs.json").write_text(json.dumps(runs))
    report = report_of(folder)
    assert value_plot(report.tables[0]) is None and len(compared(report.tables, "test")) == 4


def test_json_holds_everything(write_study) -> None:
    report = report_of(write_study("paper"), claim=CLAIM, profile="paper", planned=(planned("16-layer", "sgd-high"),))
    found = json.loads(report_json(report))
    assert list(found) == ["overview", "studies", "exhibits", "not_run"]
    (statement,) = found["studies"]["table1"]["statements"]
    assert (statement["outcome"], statement["n"], statement["in_favour"]) == ("holds", 3, 3)
    assert found["not_run"][0]["flops"] == 2e12 and len(found["overview"]) == 14


def test_a_report_of_one_study_says_its_title_and_result_once_and_begins_with_its_figure(write_study) -> None:
    document = document_of(write_study())
    sections = [part for part in document.walk("html") if isinstance(part, Section)]
    assert [part.title for part in sections].count("Table 1: linear networks") == 1
    texts = [part.text for part in document.walk("html") if isinstance(part, Paragraph)]
    assert [text for text in texts if "connected" in text and "threshold" in text] == [
        block.text for block in document.blocks if isinstance(block, Paragraph) and block.kind == "lead"
    ]
    heads = [block.name for block in document.blocks if isinstance(block, Figure)]
    assert heads == ["table1-values"] and [figure.name for figure in document.figures()].count("table1-values") == 1


def test_without_a_plot_of_values_it_begins_with_its_paths(write_study) -> None:
    document = document_of(write_study(show=None))
    (head,) = [block for block in document.blocks if isinstance(block, Figure)]
    assert head.files["svg"].count(b"alpha") and not head.linked
    assert [figure.name for figure in document.figures()].count(head.name) == 1
