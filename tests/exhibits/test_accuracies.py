"""Table 4 from made-up results whose means can be read off."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import AccuraciesExhibit
from lmc_repro.exhibits.accuracies import make, show
from lmc_repro.report.agreement import NOT_COUNTED

EXHIBIT = AccuraciesExhibit.model_validate(
    {
        "kind": "accuracies",
        "title": "t",
        "question": "q",
        "made_from": "results/figure3",
        "study": "figure3",
        "reported": "table4",
        "rows": {"mnist": "mnist", "cifar10": "cifar10"},
        "columns": {"2-layer-high": "2-high", "4-layer-medium": "4-med"},
    }
)

# (row, column) of the study -> (status, test error) of each run
CELLS: dict[tuple[str, str], list[tuple[str, float]]] = {
    ("2-layer-high", "mnist"): [("trained", 0.02), ("trained", 0.04), ("diverged", 0.9), ("trained", 0.03)],
    ("4-layer-medium", "mnist"): [("trained", 0.01), ("collapsed", 0.51)],
    ("2-layer-high", "cifar10"): [("diverged", 1.0), ("diverged", 0.9)],
    ("4-layer-medium", "cifar10"): [("collapsed", 0.46), ("diverged", 0.9)],
}


def write_results(root: Path, left_out: tuple[str, ...] = (), epochs: int = 200, **changes: Any) -> Path:
    folder = root / "figure3"
    folder.mkdir(parents=True)
    cells, runs = [], []
    for (row, column), ends in CELLS.items():
        key = f"{row}--{column}"
        if key in left_out:
            continue
        names = [f"{key}-{i}" for i in range(len(ends))]
        pairs = [
            {"fingerprints": names[i : i + 2], "status": [status for status, _ in ends[i : i + 2]]}
            for i in range(0, len(ends), 2)
        ]
        cells.append(
            {
                "cell": key, "row": row, "column": column, "row_label": row.upper(), "column_label": column.upper(),
                "config": {"data": {"dataset": column}, "epochs": epochs}, "pairs": pairs,
            }
        )  # fmt: skip
        runs += [{"fingerprint": n, "cell": key, "test_error": e} for n, (_, e) in zip(names, ends, strict=True)]
    study = {
        "profile": "paper", "analogue": False, "runs": runs,
        "rows": [{"key": key, "label": key} for key in ("2-layer-high", "4-layer-medium")],
        "columns": [{"key": key, "label": key} for key in ("mnist", "cifar10")],
        "not_run": {key: "data set cifar10 is absent: no such address" for key in left_out},
    }  # fmt: skip
    (folder / "cells.json").write_text(json.dumps(cells))
    (folder / "runs.json").write_text(json.dumps(study | changes))
    return root


def made(results: Path) -> dict[str, Any]:
    return make(EXHIBIT, results, "params.yaml")


def numbers(outcome: str) -> list[str]:
    return re.findall(r"[\d.]*\d", outcome)


def test_means_are_over_runs_that_did_not_diverge(tmp_path: Path) -> None:
    found = made(write_results(tmp_path))
    places = {(place["row"], place["column"]): place for place in found["places"]}
    assert list(places) == [(d, r) for d in ("mnist", "cifar10") for r in ("2-layer-high", "4-layer-medium")]
    run = places["mnist", "2-layer-high"]["run"]
    assert run["values"] == [98.0, 96.0, 97.0] and run["mean"] == pytest.approx(97.0)
    assert (run["min"], run["max"]) == (pytest.approx(96.0), pytest.approx(98.0))
    assert (run["n_runs"], run["diverged"], run["collapsed"]) == (4, 1, 0)
    assert places["cifar10", "2-layer-high"]["run"]["mean"] is None
    assert [places[place]["paper"] for place in places] == [98.32, 98.19, None, 55.51]


def test_the_table_has_the_papers_arrangement_and_its_mark(tmp_path: Path) -> None:
    _, _, (grid,) = show(made(write_results(tmp_path)))
    assert grid.header == ("test accuracy, %", "2-LAYER-HIGH", "4-LAYER-MEDIUM")
    assert grid.rows == (
        (
            "MNIST",
            "97.00 (96.00-98.00), n 3; of 4 runs 1 diverged",
            "74.00 (49.00-99.00), n 2; of 2 runs 1 collapsed",
        ),
        ("paper, MNIST", "98.32", "98.19"),
        ("CIFAR10", "* of 2 runs 2 diverged", "54.00 (54.00-54.00), n 1; of 2 runs 1 diverged and 1 collapsed"),
        ("paper, CIFAR-10", "*", "55.51"),
    )  # fmt: skip


def test_agreement_is_counted_on_the_papers_data_and_length_only(tmp_path: Path) -> None:
    outcome, _, _ = show(made(write_results(tmp_path / "a")))
    # 1 place marked * and 1 of ours; 3 printed, 0 of ours *, 0 within 1 point, the farthest 24.19 points away
    assert numbers(outcome) == ["1", "1", "3", "0", "0", "1", "24.19"] and outcome.count("*") == 3
    short, _, _ = show(made(write_results(tmp_path / "b", epochs=20)))
    assert numbers(short) == [] and short != NOT_COUNTED
    assert show(made(write_results(tmp_path / "c", analogue=True)))[0] == NOT_COUNTED


def test_what_was_not_run_says_why(tmp_path: Path) -> None:
    found = made(write_results(tmp_path, ("2-layer-high--cifar10", "4-layer-medium--cifar10")))
    outcome, shows, (grid,) = show(found)
    assert grid.rows[2] == ("cifar10", "not run", "not run")
    assert shows.count("data set cifar10 is absent: no such address") == 1
    assert numbers(outcome)[:2] == ["2", "0"]  # none of the places that the paper marks is counted


def test_missing_or_damaged_results_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(LmcError, match=r"runs\.json: cannot be read .*; run `lmc compare figure3`$"):
        made(tmp_path)
    root = write_results(tmp_path)
    (root / "figure3" / "cells.json").write_text('[{"cell": "x"}]')
    with pytest.raises(LmcError, match=r"not the files of a comparison .*; run `lmc compare figure3`$"):
        made(root)
