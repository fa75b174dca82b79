from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import small_study
from small_results import make_cell

from lmc_repro.common.errors import LmcError
from lmc_repro.config.expand import plan_study
from lmc_repro.config.params import Params
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import VERSION
from lmc_repro.results.write import results_files, run_record, write_results

STATUS = {"diverged_epoch": None, "init_sha256": "a", "order_sha256": "b", "final_sha256": "c", "stack": [2, 2]}


def _runs(tmp_path: Path, study: dict[str, Any], overrides: list[dict[str, Any]]) -> dict[str, Any]:
    params: dict[str, Any] = copy.deepcopy(small_study.PARAMS)
    params["studies"]["one"] |= study
    params["profiles"]["tiny"]["overrides"] = overrides
    plan = plan_study(Params.model_validate(params), "one")
    write_results(tmp_path, plan, {}, [], small_study.DIGESTS, {}, "portable", "cpu")
    found: dict[str, Any] = json.loads((tmp_path / "runs.json").read_text())
    return found


def test_where_each_setting_of_the_study_comes_from(tmp_path: Path) -> None:
    sources = {"model.depth": "paper: rows", "model.slope": "inferred: a guess", "optimizer.use": "ours: two rates"}
    runs = _runs(tmp_path, {"provenance": sources}, [])
    found = {entry["key"]: (entry["value"], entry["source"]) for entry in runs["provenance"]}
    assert found["studies.one.model.depth"] == ([1, 2], "paper: rows")
    assert found["studies.one.model.slope"] == (1.0, "inferred: a guess")
    assert found["studies.one.optimizer.use"] == (["fast", "slow"], "ours: two rates")
    assert found["optimizers.fast.lr"] == (0.1, "paper: Table 1")  # the profile's are still there


def test_axes_have_the_labels_of_the_profile_and_the_studys_own_data(tmp_path: Path) -> None:
    moved = {"study": "one", "column": "slow", "label": "SGD, slow here", "set": {"data": {"label_noise": 0.1}}}
    rows = copy.deepcopy(small_study.STUDY["rows"])
    rows["deep"]["varies"] = "shallow"
    runs = _runs(tmp_path, {"rows": rows, "show": {"x": "rows", "x_label": "depth"}}, [moved])
    assert [(column["label"], column["dataset"]) for column in runs["columns"]] == [
        ("SGD fast", None),
        ("SGD, slow here", None),
    ]
    assert [row["varies"] for row in runs["rows"]] == [None, "shallow"]
    assert runs["dataset"] == "digits"
    assert runs["show"] == {"x": "rows", "x_label": "depth", "value": "barrier"}


def test_what_is_left_out_comes_with_its_reason_and_is_read_back(tmp_path: Path) -> None:
    overrides = [
        {"study": "one", "column": "slow", "drop": True, "why": "as fast"},
        {"study": ["two", "one"], "row": ["deep"], "column": ["fast"], "drop": True, "why": "too deep"},
        {"study": "two", "row": "deep", "drop": True, "why": "another study"},
    ]
    runs = _runs(tmp_path, {}, overrides)
    assert runs["left_out"] == [
        {"rows": None, "columns": ["slow"], "label": "SGD slow", "why": "as fast"},
        {"rows": ["deep"], "columns": ["fast"], "label": "2-Layer, SGD fast", "why": "too deep"},
    ]
    left = read_study(tmp_path).left_out
    assert left[0].covers("shallow", "slow") and not left[0].covers("shallow", "fast")
    assert left[1].covers("deep", "fast") and not left[1].covers("shallow", "fast")


def test_what_is_read_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    plan = small_study.make_plan()
    results = {cell.key: make_cell(cell) for cell in plan.cells}
    cell = plan.cells[0]
    runs = [run_record(small_study.write_run(tmp_path / "runs", run), cell.key, run, STATUS) for run in cell.runs]
    write_results(tmp_path / "one", plan, results, runs, small_study.DIGESTS, {}, "portable", "cpu")
    read = read_study(tmp_path / "one")
    assert read.runs == tuple(runs) and len(read.cells) == 4
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == results_files(read)


@pytest.mark.parametrize(
    "name, old, new, said",
    [
        ("runs.json", f'"version": {VERSION}', '"version": 1', rf"version: found 1, allowed: {VERSION}"),
        ("runs.json", f',\n  "version": {VERSION}', "", rf"version: found 1, allowed: {VERSION}"),
        ("runs.json", '"threshold": 2.0', '"threshold": NaN', "found NaN, a number must be finite"),
        ("cells.json", '"cosine": null', '"cosine": 1e999', "found 1e999, a number must be finite"),
        ("cells.json", '"mean": 3.0', '"mean": "three"', r"0\.[\w.]+\.mean: found 'three'"),
        ("curves.csv", ",0.5,40,100,", ",0.5,101,100,", "a count that is not within 0 and 100"),
        ("curves.csv", "0.75", "inf", "a loss that is not finite"),
    ],
)
def test_what_is_damaged_is_one_line(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    plan = small_study.make_plan()
    results = {cell.key: make_cell(cell) for cell in plan.cells}
    write_results(tmp_path, plan, results, [], small_study.DIGESTS, {}, "portable", "cpu")
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(LmcError, match=rf"{name}: .*{said}.*; run `lmc compare {tmp_path.name}`$") as error:
        read_study(tmp_path)
    assert "\n" not in str(error.value)
