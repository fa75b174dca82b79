"""`lmc export` and `lmc plot`: a study's results as a paper takes them."""

from __future__ import annotations

import csv
import io
import re
import zlib
from pathlib import Path

import pytest
import small_study
from commands import lmc, refused
from PIL import Image
from small_results import make_cell
from trained_store import write_params

from lmc_repro.common.project import Project
from lmc_repro.results.write import write_results

ROW = ["3.00", "2.50", "2", "disconnected"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working folder, with the parameters of study `one` and no results."""
    monkeypatch.chdir(tmp_path)
    write_params(Project(tmp_path))
    return tmp_path


@pytest.fixture
def results(project: Path) -> Path:
    """Its results: those of the row `deep`, of `lmc run`."""
    plan = small_study.make_plan()
    cells = {cell.key: make_cell(cell) for cell in plan.cells if cell.row == "deep"}
    folder = project / "out" / plan.profile / "one" / "results" / "one"
    write_results(folder, plan, cells, [], small_study.DIGESTS, {}, "portable", "cpu")
    return folder


def test_an_exported_table_holds_the_cells(results: Path) -> None:
    splits = ("test", "train")
    found = list(csv.reader(io.StringIO(lmc("export", "one", "--csv").out)))
    assert found[0] == ["row", "column", "split", "barrier", "sd", "L", "n", "verdict"]
    assert [line[2:] for line in found[1:]] == [[split, "3.00", "-", *ROW[1:]] for split in splits] * 2
    lines = lmc("export", "one", "--markdown").out.splitlines()
    assert [line.strip("| ").split(" | ")[2:] for line in lines[2:]] == [[split, *ROW] for split in splits] * 2
    assert lmc("export", "one", "--latex", "--out", "t.tex").out == ""
    rows = [
        line.removesuffix(r" \\").split(" & ") for line in Path("t.tex").read_text().splitlines() if " & test" in line
    ]
    assert [row[2:] for row in rows] == [ROW] * 2


@pytest.mark.slow
def test_a_plot_is_as_wide_as_a_column_and_has_equal_bytes(results: Path) -> None:
    for name in ("a.pdf", "b.pdf", "a.png", "a.svg"):
        assert lmc("plot", "one", "--row", "deep", "--out", name).code == 0
    pdf = Path("a.pdf").read_bytes()
    assert Path("b.pdf").read_bytes() == pdf and b"CreationDate" not in pdf
    assert re.search(rb"/MediaBox \[ ?0 0 234 ", pdf) and b"/FontFile2" in pdf and b"/Type3" not in pdf  # 3.25 inches
    pages = b"".join(
        zlib.decompress(part) for part in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.S) if part[:1] == b"x"
    )
    sizes = {float(size) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", pages)}
    assert sizes == {8.0}
    with Image.open("a.png") as image:
        assert image.width == int(3.25 * 150)
    assert b"3.00 / 3.00" in Path("a.svg").read_bytes()
    assert lmc("plot", "one", "--column", "fast", "--split", "test", "--out", "b.svg").code == 0
    svg = Path("b.svg").read_bytes()
    assert b">3.00<" in svg and b">train<" not in svg


def test_mistakes_are_one_line(project: Path) -> None:
    assert "run `lmc run one`" in refused("export", "one", "--csv")
    assert "run `lmc run one`" in refused("plot", "one", "--out", "a.pdf")
    assert "--latex, --csv, --markdown" in refused("export", "one")
    assert "--latex, --csv, --markdown" in refused("export", "one", "--latex", "--csv")
    assert refused("plot", "one", "--out", "a.eps") == "--out a.eps: found '.eps', allowed: .png, .svg, .pdf"
    assert refused("plot", "one", "--split", "x", "--out", "a.pdf") == "--split: found 'x', allowed: test, train"
    assert refused("plot", "one", "--row", "depe", "--out", "a.pdf").startswith("--row: found 'depe'")
    assert "STUDY: found 'on'" in refused("export", "on", "--csv")
    assert not list(project.glob("a.*"))


def test_a_plot_of_cells_without_results_names_the_command(results: Path) -> None:
    assert "run `lmc run one`" in refused("plot", "one", "--row", "shallow", "--out", "a.pdf")
