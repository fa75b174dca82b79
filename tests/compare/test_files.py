from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import small_study

from lmc_repro.compare.files import write_results
from lmc_repro.report.read import read_study
from lmc_repro.schemas.params import Params
from lmc_repro.studies.expand import plan_study


def _runs(tmp_path: Path, study: dict[str, Any], overrides: list[dict[str, Any]]) -> dict[str, Any]:
    params: dict[str, Any] = copy.deepcopy(small_study.PARAMS)
    params["studies"]["one"] |= study
    params["profiles"]["tiny"]["overrides"] = overrides
    plan = plan_study(Params.model_validate(params), "one")
    write_results(tmp_path, plan, {}, [], small_study.DIGESTS, {}, "portable", "cpu")
    found: dict[str, Any] = json.loads((tmp_path / "runs.json").read_text())
    return found


def test_where_each_setting_of_the_study_comes_from(tmp_path: Path) -> None:
    sources = {"depth": "paper: rows", "slope": "inferred: a guess", "optimizer": "ours: two rates"}
    runs = _runs(tmp_path, {"provenance": sources}, [])
    found = {entry["key"]: (entry["value"], entry["source"]) for entry in runs["provenance"]}
    assert found["studies.one.depth"] == ([1, 2], "paper: rows")
    assert found["studies.one.slope"] == (1.0, "inferred: a guess")
    assert found["studies.one.optimizer"] == (["fast", "slow"], "ours: two rates")
    assert found["optimizers.fast.lr"] == (0.1, "paper: Table 1")  # the profile's are still there


def test_axes_have_the_labels_of_the_profile_and_the_studys_own_data(tmp_path: Path) -> None:
    moved = {"study": "one", "column": "slow", "label": "SGD, slow here", "set": {"label_noise": 0.1}}
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
