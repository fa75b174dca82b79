"""`dvc repro`, `mlflow run .` and MLflow's UI, one after another on one project; its pages in a browser."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from browsing import charts, compared, names_of_rows, open_page
from project_run import check_project_run, client, count_runs
from three_doors import Doors

from lmc_repro.tracking.ui import compare_link

if TYPE_CHECKING:
    from playwright.sync_api import Browser


pytestmark = [pytest.mark.slow, pytest.mark.server]
in_a_browser = pytest.mark.browser

ALPHAS = [i / 10 for i in range(11)]


def test_the_first_trains_and_the_second_reuses(doors: Doors) -> None:
    assert "trained 24, reused 0, resumed 0" in doors.repro
    assert "trained 0, reused 24, resumed 0" in doors.mlflow_run
    root = doors.project.root
    check_project_run(root, doors.run_id)
    assert count_runs(root) == {"cell": 4, "pair": 12, "train": 24}
    assert client(root).get_run(doors.run_id).data.params["study"] == "table1"
    assert "Running stage" not in doors.project.ok("dvc", "repro")


def test_the_server_answers_with_complete_cells(doors: Doors) -> None:
    cells = {cell["cell"]: cell for cell in json.loads((doors.results / "cells.json").read_text())}
    runs = {kind: doors.search(kind) for kind in ("cell", "train", "pair")}
    assert {kind: len(found) for kind, found in runs.items()} == {"cell": 4, "train": 24, "pair": 12}
    assert {run["status"] for found in runs.values() for run in found} == {"FINISHED"}
    parents = {run["tags"]["lmc.cell"]: run["run_id"] for run in runs["cell"]}
    assert parents.keys() == cells.keys()
    for run in runs["train"] + runs["pair"]:
        assert run["tags"]["mlflow.parentRunId"] == parents[run["tags"]["lmc.cell"]]
    for run in runs["train"]:
        assert {"train/error", "test/error", "train/loss", "test/loss", "train/batch_loss"} <= run["metrics"].keys()
    for run in runs["pair"]:
        (pair,) = (p for p in cells[run["tags"]["lmc.cell"]]["pairs"] if p["pair"] == run["params"]["pair"])
        assert {"path/alpha", "path/train_error", "path/test_error", "path/test_excess"} <= run["metrics"].keys()
        for split in ("train", "test"):
            assert run["metrics"][f"barrier/{split}"] == pytest.approx(pair[split]["barrier"], abs=1e-9)
            assert run["metrics"][f"barrier/{split}_norm_pct"] == pytest.approx(pair[split]["normalised"], abs=1e-9)
    for run in runs["cell"]:
        cell = cells[run["tags"]["lmc.cell"]]
        assert run["metrics"]["barrier/test"] == pytest.approx(cell["test"]["mean"], abs=1e-9)
        assert run["tags"]["lmc.verdict.test"] == cell["test"]["verdict"]


def paths(doors: Doors) -> dict[str, list[float]]:
    """Return the test errors along alpha of each pair at the last epoch, by its run's id, from curves.csv."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with open(doors.results / "curves.csv", newline="") as file:
        for row in csv.DictReader(file):
            if (row["epoch"], row["split"]) == ("3", "test"):
                found[row["cell"], row["pair"]].append(100.0 * int(row["wrong"]) / int(row["n"]))
    ids = {(run["tags"]["lmc.cell"], run["params"]["pair"]): run["run_id"] for run in doors.search("pair")}
    assert ids.keys() == found.keys()
    return {ids[key]: errors for key, errors in found.items()}


@in_a_browser
def test_the_view_draws_the_path_of_every_pair_over_alpha(browser: Browser, doors: Doors) -> None:
    page = open_page(browser)
    page.goto(doors.links["view"])
    errors, excess, *_ = charts(page, 4)
    wanted = paths(doors)
    assert len(wanted) == 12
    for chart, metric in ((errors, "path/test_error"), (excess, "path/test_excess")):
        assert {line["metric"] for line in chart["lines"]} == {metric}
        assert chart["axis"] == "path/alpha"
        assert [line["x"] for line in chart["lines"]] == [ALPHAS] * 12
        assert chart["drawn"] == 12
        assert {line["run"] for line in chart["lines"]} == wanted.keys()
    for line in errors["lines"]:
        assert line["y"] == pytest.approx(wanted[line["run"]], abs=1e-6)
    cells = {run["run_id"]: run["tags"]["lmc.cell"] for run in doors.search("pair")}
    colours = {(cells[line["run"]], line["colour"]) for line in errors["lines"]}
    assert len(colours) == len({colour for _, colour in colours}) == 4  # one each


@in_a_browser
def test_bars_below_are_the_barriers(browser: Browser, doors: Doors) -> None:
    page = open_page(browser)
    page.goto(doors.links["view"])
    _, _, *bars = charts(page, 4)
    pairs = doors.search("pair")
    for chart, metric in zip(bars, ("barrier/test", "barrier/test_norm_pct"), strict=True):
        assert {bar["run"]: bar["length"] for bar in chart["bars"]} == {
            run["run_id"]: pytest.approx(run["metrics"][metric]) for run in pairs
        }


@in_a_browser
def test_trainings_and_pairs_stand_below_their_cell(browser: Browser, doors: Doors) -> None:
    page = open_page(browser)
    page.goto(doors.links["table"])
    cells = names_of_rows(page)
    assert page.get_by_text("barrier/test", exact=True).first.is_visible()  # a column of the published table
    assert sorted(cells) == sorted(run["run_name"] for run in doors.search("cell"))
    page.locator(".ag-row[row-index='1'] button").first.click()
    page.get_by_text(f"pair 2 {cells[1]}").wait_for()
    below = names_of_rows(page)
    assert below[:2] == cells[:2] and below[-2:] == cells[2:]
    trainings = [f"seeds {trainer}-{2 * trainer + i} {cells[1]}" for trainer in range(3) for i in range(2)]
    assert sorted(below[2:-2]) == sorted([*trainings, *(f"pair {i} {cells[1]}" for i in range(3))])


@in_a_browser
def test_chosen_pairs_are_compared_by_their_barriers(browser: Browser, doors: Doors) -> None:
    chosen = [run for run in doors.search("pair") if run["params"]["column"] == "adam-high"][1:4]
    page = open_page(browser)
    page.goto(compare_link(doors.base, doors.experiment, [run["run_id"] for run in chosen]))
    for metric in ("barrier/test", "barrier/test_norm_pct", "barrier/train"):
        shown = compared(page, metric)
        assert shown == pytest.approx([run["metrics"][metric] for run in chosen], abs=1e-3), metric


@in_a_browser
def test_the_printed_comparison_and_metric_are_of_all_pairs(browser: Browser, doors: Doors) -> None:
    page = open_page(browser)
    page.goto(doors.links["side by side"])
    page.get_by_text("Comparing 12 Runs from 1 Experiment").wait_for()
    page = open_page(browser)
    page.goto(doors.links["test error by step"])
    (chart,) = charts(page)
    steps = [100 * i for i in range(11)]
    assert {line["run"]: line["x"] for line in chart["lines"]} == {run: steps for run in paths(doors)}
