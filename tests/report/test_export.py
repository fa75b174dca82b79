"""The cells of a study as a table for a paper."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lmc_repro.report.grid import export_table, study_table
from lmc_repro.report.text import csv_table, latex_table
from lmc_repro.results.read import read_study


def latex_rows(text: str) -> list[list[str]]:
    """Return the rows between \\midrule and \\bottomrule, a heading as the first value of those below it."""
    rows, heading = [], ""
    for line in text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines():
        if found := re.fullmatch(r"\\multicolumn\{6\}\{@\{\}l@\{\}\}\{\\emph\{(.*)\}\} \\\\", line):
            heading = found[1]
        elif line != r"\addlinespace":
            rows.append([heading, *line.removesuffix(r" \\").split(" & ")])
    return rows


def test_an_exported_table_has_the_numbers_of_the_cells(write_study) -> None:
    folder = write_study(title="50 % of {a_b} & $c$ ~ ^ \\ # < > |")
    cells = json.loads((folder / "cells.json").read_text())
    text = latex_table(export_table(study_table(read_study(folder))))
    expected = []
    for cell in cells:
        for split in ("test", "train"):
            s, value = cell[split], "-" if cell[split]["mean"] is None else f"{cell[split]['mean']:.2f}"
            spread = "" if s["sd"] is None else f" $\\pm$ {s['sd']:.2f}"
            line = "-" if s["line_mean"] is None else f"{s['line_mean']:.2f}"
            names = (cell["row_label"], cell["column_label"], split)
            expected.append([*names, value + spread, line, str(len(s["values"])), s["verdict"] or "no verdict"])
    assert latex_rows(text) == expected and [row[3] for row in expected[:1]] == ["0.30 $\\pm$ 0.10"]
    escaped = (
        r"50 \% of \{a\_b\} \& \$c\$ \textasciitilde{} \textasciicircum{} \textbackslash{} \# \textless{} "
        r"\textgreater{} \textbar{}. Barrier"
    )
    assert rf"\caption{{{escaped}" in text and r"\begin{tabularx}{\columnwidth}" in text
    rows = list(csv.DictReader(io.StringIO(csv_table(export_table(study_table(read_study(folder)), joined=False)))))
    assert (rows[0]["barrier"], rows[0]["sd"], rows[4]["sd"]) == ("0.30", "0.10", "-") and len(rows) == len(expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_an_exported_table_goes_into_a_column_of_a_paper(write_study, tmp_path: Path) -> None:
    table = export_table(study_table(read_study(write_study(title="50 % of {a_b} & $c$ ~ ^ \\ # < > |"))))
    head = "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs,tabularx}\n\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{head}{latex_table(table)}\\end{{document}}\n")
    words = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=100)
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout[-2000:]
