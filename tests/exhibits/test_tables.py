"""Table 3, parameter counts worked out by hand, and Table 4 from made-up results whose means can be read off.

A filter of 4 x 4 x 3 has 48 weights, a 32 x 32 image 64 positions.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import PARAMS

from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import AccuraciesExhibit, ParametersExhibit
from lmc_repro.config.load import load_params
from lmc_repro.config.params import Params
from lmc_repro.exhibits.tables import collect_accuracies, count_parameters, show_accuracies, show_parameters
from lmc_repro.report.agreement import NOT_COUNTED
from lmc_repro.results.schema import Axis

OUTPUT = 64 * 128 * 10 + 10
BY_HAND = {
    "cnn": 48 * 128 + 128 + OUTPUT,
    "lc-cnn": 64 * 128 * 48 + 64 * 128 + OUTPUT,
    "lc-cnn-filter": 64 * 128 * 48 + 128 + OUTPUT,
    "mlp": 3072 * 8192 + 8192 + OUTPUT,
}


@pytest.fixture
def params() -> Params:
    return load_params(PARAMS)


def table3(params: Params) -> ParametersExhibit:
    return ParametersExhibit.model_validate(params.exhibits["table3"].model_dump())


@pytest.mark.parametrize("profile", ["digits", "paper"])
def test_table_3_under_every_profile(params: Params, profile: str) -> None:
    found = count_parameters(table3(params), params.model_copy(update={"profile": profile}), "params.yaml")
    counts = {network["key"]: network["parameters"] for network in found["networks"]}
    assert counts == BY_HAND
    assert counts == {"cnn": 88_202, "lc-cnn": 483_338, "lc-cnn-filter": 475_274, "mlp": 25_255_946}
    outcome, _, grids = show_parameters({**found, "profile": profile})
    assert "4 of 4" in outcome
    assert grids[0].rows[0] == ("CNN", "88,202", "0.09", "0.09")
    assert grids[0].rows[-1][1:] == ("25,255,946", "25.26", "25.26")


def test_the_profiles_own_networks_on_digits(params: Params) -> None:
    # 8 x 8 images: 16 positions of 2 x 2 pixels, 8 filters, so 128 hidden units and 1,290 parameters behind them.
    found = count_parameters(table3(params), params, "params.yaml")
    counts = {network["label"]: network["parameters"] for network in found["study"]["networks"]}
    assert list(counts) == ["MLP", "LC-CNN", "CNN", "attention"]  # the controls are none of Figure 2's networks
    assert counts["MLP"] == 64 * 128 + 128 + 1290
    assert counts["LC-CNN"] == 128 * 4 + 128 + 1290
    assert counts["CNN"] == 8 * 4 + 8 + 1290
    assert {network["dataset"]["name"] for network in found["study"]["networks"]} == {"digits"}


def test_a_count_that_rounds_to_another_number_is_named(params: Params) -> None:
    values = table3(params).model_dump()
    values["networks"]["cnn"]["model"]["filters"] = 150  # 7,200 + 150 + 96,010
    found = count_parameters(ParametersExhibit.model_validate(values), params, "params.yaml")
    outcome, _, _ = show_parameters({**found, "profile": "digits"})
    assert "3 of 4" in outcome and "not CNN (0.10, paper 0.09)" in outcome


EXHIBIT = AccuraciesExhibit(
    kind="accuracies",
    title="t",
    question="q",
    made_from="results/figure3",
    study="figure3",
    reported="table4",
    rows={"mnist": "mnist", "cifar10": "cifar10"},
    columns={"2-layer-high": "2-high", "4-layer-medium": "4-med"},
)
# (row, column) of the study -> (status, test error) of each run
CELLS: dict[tuple[str, str], list[tuple[str, float]]] = {
    ("2-layer-high", "mnist"): [("trained", 0.02), ("trained", 0.04), ("diverged", 0.9), ("trained", 0.03)],
    ("4-layer-medium", "mnist"): [("trained", 0.01), ("collapsed", 0.51)],
    ("2-layer-high", "cifar10"): [("diverged", 1.0), ("diverged", 0.9)],
    ("4-layer-medium", "cifar10"): [("collapsed", 0.46), ("diverged", 0.9)],
}


def made(left_out: tuple[str, ...] = (), epochs: int = 200, **changes: Any) -> dict[str, Any]:
    cells, runs = [], []
    for (row, column), ends in CELLS.items():
        key = f"{row}--{column}"
        if key in left_out:
            continue
        names = [f"{key}-{i}" for i in range(len(ends))]
        runs += [SimpleNamespace(fingerprint=n, test_error=e) for n, (_, e) in zip(names, ends, strict=True)]
        status = [status for status, _ in ends]
        pairs = [
            SimpleNamespace(fingerprints=names[i : i + 2], status=status[i : i + 2]) for i in range(0, len(ends), 2)
        ]
        config = {"data": {"dataset": column}, "epochs": epochs}
        labels = {"row_label": row.upper(), "column_label": column.upper()}
        cells.append(SimpleNamespace(key=key, row=row, column=column, config=config, pairs=pairs, **labels))
    study = {
        "study": "figure3", "profile": "paper", "analogue": False, "cells": cells, "runs": runs,
        "rows": [Axis(key, key) for key in ("2-layer-high", "4-layer-medium")],
        "columns": [Axis(key, key) for key in ("mnist", "cifar10")],
        "not_run": {key: "data set cifar10 is absent: no such address" for key in left_out},
    }  # fmt: skip
    return collect_accuracies(EXHIBIT, SimpleNamespace(**study | changes), "params.yaml")


def numbers(outcome: str) -> list[str]:
    return re.findall(r"[\d.]*\d", outcome)


def test_means_are_over_runs_that_did_not_diverge_in_the_papers_arrangement() -> None:
    found = made()
    places = {(place["row"], place["column"]): place for place in found["places"]}
    assert list(places) == [(d, r) for d in ("mnist", "cifar10") for r in ("2-layer-high", "4-layer-medium")]
    run = places["mnist", "2-layer-high"]["run"]
    assert run["values"] == [98.0, 96.0, 97.0] and run["mean"] == pytest.approx(97.0)
    assert [places[place]["paper"] for place in places] == [98.32, 98.19, None, 55.51]
    _, _, (grid,) = show_accuracies(found)
    assert grid.header == ("test accuracy, %", "2-LAYER-HIGH", "4-LAYER-MEDIUM")
    lost = "1 diverged and 1 collapsed"
    assert grid.rows == (
        ("MNIST", "97.00 (96.00-98.00), n 3; of 4 runs 1 diverged", "74.00 (49.00-99.00), n 2; of 2 runs 1 collapsed"),
        ("paper, MNIST", "98.32", "98.19"),
        ("CIFAR10", "* of 2 runs 2 diverged", f"54.00 (54.00-54.00), n 1; of 2 runs {lost}"),
        ("paper, CIFAR-10", "*", "55.51"),
    )


def test_agreement_is_counted_on_the_papers_data_and_length_only() -> None:
    outcome, _, _ = show_accuracies(made())
    # 1 place marked * and 1 of ours; 3 printed, 0 of ours *, 0 within 1 point, the farthest 24.19 points away
    assert numbers(outcome) == ["1", "1", "3", "0", "0", "1", "24.19"] and outcome.count("*") == 3
    short, _, _ = show_accuracies(made(epochs=20))
    assert numbers(short) == [] and short != NOT_COUNTED
    assert show_accuracies(made(analogue=True))[0] == NOT_COUNTED


def test_what_was_not_run_says_why() -> None:
    left_out = ("2-layer-high--cifar10", "4-layer-medium--cifar10")
    outcome, shows, (grid,) = show_accuracies(made(left_out))
    assert grid.rows[2] == ("cifar10", "not run", "not run")
    assert shows.count("data set cifar10 is absent: no such address") == 1
    assert numbers(outcome)[:2] == ["2", "0"]  # none of the places that the paper marks is counted


def test_a_run_without_a_test_error_is_named() -> None:
    with pytest.raises(LmcError, match=r"runs\.json: .* cell 2-layer-high--mnist: missing; run `lmc compare figure3`$"):
        made(runs=[])
