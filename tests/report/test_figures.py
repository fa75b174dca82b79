from __future__ import annotations

from lmc_repro.report.figures import curves_figure
from lmc_repro.report.table import study_table
from lmc_repro.results.read import read_study


def test_equal_results_give_equal_bytes_and_other_results_others(write_study) -> None:
    results = read_study(write_study())
    first = curves_figure(study_table(results))
    assert curves_figure(study_table(results)) == first
    curves = dict(results.curves)
    key = ("4-layer--sgd-high", "0", 200, "test")
    curves[key] = curves["8-layer--adam-medium", "0", 200, "test"]
    changed = curves_figure(study_table(results.__class__(**{**vars(results), "curves": curves})))
    assert changed["png"] != first["png"] and changed["svg"] != first["svg"]


def test_panels_name_their_numbers_and_what_was_not_run(write_study) -> None:
    svg = curves_figure(study_table(read_study(write_study())))["svg"].decode()
    for said in ("3.00 / 1.00", "72.00 / 60.00", "no verdict", "not run", "SGD high", "8-Layer", "alpha"):
        assert said in svg
    assert "47.74" not in svg  # the paper's numbers are not curves of ours
