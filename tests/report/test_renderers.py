"""One document on a page, in Markdown, on a terminal, as CSV."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from whole_report import change_cells, document_of, make_unequal, report_of

from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import Claim, Statement
from lmc_repro.report.contents import Asked, Exhibit, Planned, read_report
from lmc_repro.report.details import summary_table
from lmc_repro.report.document import report_document, study_section
from lmc_repro.report.html import html_page
from lmc_repro.report.model import Cell, Figure, Section, Table
from lmc_repro.report.terminal import print_block, print_overview
from lmc_repro.report.text import csv_table, latex_table, markdown
from lmc_repro.report.write import headline, mean_paths, study_metrics, write_report

VOID = {"meta", "br", "path", "use", "polyline"}  # of those that the page uses
LOADS = {"script", "img", "link", "iframe", "object", "embed", "video", "audio", "source", "image", "base"}
SMALL = Table("50 % of it", ("a_b", "ours"), (("x & y", Cell(("1.00", "n 3"), strong=True, link="#there")), ("$", "-")))


only_svg = pytest.mark.usefixtures("only_svg")


class Page(HTMLParser):
    """The page as a list of (tag, attributes, text inside), and whether every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self.open:
            self.elements[place][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(found, "".join(text)) for name, found, text in self.elements if name == tag]


def test_nothing_is_loaded(text: str) -> None:
    page = Page(text)
    assert not LOADS & {tag for tag, _, _ in page.elements}
    addresses = [
        str(value) for _, found, _ in page.elements for name, value in found.items() if name in ("src", "srcset")
    ]
    inside = [str(value) for _, found, _ in page.elements for name, value in found.items() if name == "xlink:href"]
    assert not addresses and all(value.startswith("#") for value in inside)
    assert re.findall(r"url\((?!#)", text) == [] and "@import" not in text and "@font-face" not in text
    policy = next(found["content"] for found, _ in page.all("meta") if "http-equiv" in found)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    links = [found for found, _ in page.all("a") if not str(found["href"]).startswith("#")]
    assert {str(found["href"]).partition("/")[0] for found in links if "download" in found} == {"figures", "tables"}
    outside = {str(found["href"]) for found in links if "download" not in found}
    assert outside == {"http://127.0.0.1:5000/#/experiments?experimentSearchFilter=lmc%2Ftable1%2Fdigits"}


@only_svg
def test_links_inside_the_page_lead_somewhere(write_study) -> None:
    """Also those of its drawings, whose parts have names of their own in each."""
    text = html_page(document_of(write_study("paper")))
    page = Page(text)
    ids = [found["id"] for _, found, _ in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    links = [found.get(name) for _, found, _ in page.elements for name in ("href", "xlink:href") if name in found]
    links += [f"#{name}" for name in re.findall(r"url\(#([^)]*)\)", text)]
    assert {str(link)[1:] for link in links if str(link).startswith("#")} <= set(ids) and len(links) > 20


def test_it_can_be_read_without_seeing_it(text: str) -> None:
    page = Page(text)
    assert page.all("html")[0][0]["lang"] == "en"
    headings = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1 and all(after - before <= 1 for before, after in pairwise(headings))
    assert all(found.get("scope") in ("col", "row") for found, _ in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    drawn = [(found.get("class"), found["aria-label"]) for found, _ in page.all("svg") if found.get("role") == "img"]
    (values,) = [str(label) for kind, label in drawn if kind == "drawn"]
    assert [label for kind, label in drawn if kind is None][1] == "errors along the path of 6 curves, 2.0 to 10.0 %"
    assert "test, SGD high: 4-Layer, BS=1024 0.30, 8-Layer, BS=1024 0.60;" in values
    assert "test, ADAM high: 4-Layer, BS=1024 3.00, 8-Layer, BS=1024 no verdict;" in values
    cells = [(found["data-label"], found.get("class"), text) for found, text in page.all("td") if "data-label" in found]
    assert [text for found, text in page.all("small") if found.get("class") == "paper"][
        1
    ] == "paper (MNIST) 47.74 / 48.91"
    assert [(label, kind) for label, kind, _ in cells] == [
        ("SGD high", "connected"), ("ADAM high", "disconnected"), ("ADAM medium", "not-run"),
        ("SGD high", "connected"), ("ADAM high", "no-verdict"), ("ADAM medium", "disconnected"),
    ]  # fmt: skip
    assert all(str(kind).replace("-", " ") in text for _, kind, text in cells)  # colour is never the only sign


@only_svg
@pytest.mark.parametrize("where", ["title", "label", "provenance"])
def test_text_of_the_files_is_escaped(write_study, where: str) -> None:
    bad = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }} {0}"
    changes = {
        "title": {"title": bad},
        "label": {"rows": [{"key": "4-layer", "label": bad}, {"key": "8-layer", "label": bad}]},
        "provenance": {"provenance": [{"key": bad, "value": bad, "source": bad}]},
    }[where]
    text = html_page(document_of(write_study(**changes)))
    page = Page(text)
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text and "{{ 7 * 7 }} {0}" in text
    assert not [found for _, found, _ in page.elements if "onload" in found]


@only_svg
def test_text_of_the_files_is_text_in_every_medium(write_study) -> None:
    """Markdown is rendered as forges do, with HTML: of tags, links and columns only the renderer's own remain."""
    plain, bad = "plain", "<script>x</script><b>[a](/x) \\| c | [/red] $\\input{x}$ %"

    def made(text: str) -> Section:
        axis = [{"key": "4-layer", "label": text}, {"key": "8-layer", "label": text}]
        columns = [{"key": key, "label": text} for key in ("sgd-high", "adam-high", "adam-medium")]
        source = [{"key": "key", "value": text, "source": text}]
        changes = {"title": text, "question": text, "rows": axis, "columns": columns, "provenance": source}
        return document_of(write_study(**changes))

    def rendered(text: str) -> str:
        return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)

    def shape(page: str) -> list[str]:
        return [tag for tag in re.findall(r"<(?:[A-Za-z/][^\s>]*)", page) if tag not in ("<code", "</code")]

    tame, hostile = made(plain), made(bad)
    page, expected = rendered(markdown(hostile)), rendered(markdown(tame))
    assert shape(page) == shape(expected) and unescape(page).count(bad) == len(re.findall(rf"\b{plain}\b", expected))
    assert "<script" not in html_page(hostile)
    console = Console(file=io.StringIO(), width=400)
    print_block(hostile, console)
    assert isinstance(console.file, io.StringIO) and bad in console.file.getvalue()
    latex = latex_table(replace(SMALL, caption=bad, header=(bad, bad), rows=((bad, bad),)))
    assert r"\textless{}script\textgreater{}x" in latex and r"\$\textbackslash{}input\{x\}\$ \%" in latex


def test_text_stands_out_from_its_ground_in_light_dark_and_print(text: str) -> None:
    schemes = [dict(re.findall(r"--(\w+): #(\w{6})", s)) for s in re.findall(r":root \{(.*?)\}", text, re.S)]
    assert len(schemes) == 3
    for colours in schemes:
        for ink in ("ink", "quiet", "apart", "link"):
            for ground in ("paper", "soft"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)  # WCAG 2.2, 1.4.3
        lines = ("test", "train", "third", "fourth", "fifth", "sixth", "untrained")
        assert min(contrast(colours[line], colours["paper"]) for line in lines) >= 3.0  # 1.4.11
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.S))
    assert set(re.findall(r"var\(--(\w+)\)", drawn)) <= set(schemes[0]) and not re.findall(r"#[0-9a-f]{6}\b", drawn)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.slow
def test_files_and_their_bytes(write_study, tmp_path: Path) -> None:
    folder = write_study()
    studies = {"table1": Asked("Table 1"), "figure1": Asked("Figure 1")}
    exhibit = Exhibit(
        "figure4", "Equal.", Section("Figure 4", (Figure("figure4", "Batches.", {"svg": b"<svg></svg>"}),))
    )
    written = write_report(read_report(folder.parent, studies, [exhibit]), tmp_path / "report")
    names = [str(path.relative_to(tmp_path / "report")) for path in written]
    drawn = {name for name in names if name.startswith("figures/")}
    stems = ("barriers", "table1", "table1-values")
    assert drawn == {f"figures/{stem}.{kind}" for stem in stems for kind in ("png", "svg", "pdf")} | {
        "figures/figure4.svg"
    }
    saved = ("overview", *(f"table1{part}" for part in ("", "-cells", "-pairs", "-ends", "-configurations")), "sources")
    assert [name for name in names if name.startswith("tables/")] == [
        f"tables/{name}.{kind}" for name in saved for kind in ("csv", "tex")
    ]
    assert names[-5:] == ["index.html", "report.md", "paths/table1.csv", "barriers.json", "metrics.json"]
    first = [path.read_bytes() for path in written]
    page = first[names.index("index.html")].decode()
    links = re.findall(r'href="([^"]*)" download', page)
    assert set(links) == {*drawn, *(name for name in names if name.startswith("tables/"))}
    write_report(read_report(folder.parent, studies, [exhibit]), tmp_path / "report")
    assert [path.read_bytes() for path in written] == first
    assert "<code>lmc run figure1</code>" in page  # which has no results
    for kind, start in {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}.items():
        assert (tmp_path / f"report/figures/barriers.{kind}").read_bytes().startswith(start)
    assert not re.search(r"20\d\d-\d\d", page)


def test_metrics_are_numbers_and_null_without_a_verdict(write_study) -> None:
    (table,) = report_of(write_study()).tables
    metrics = study_metrics(table)
    assert metrics["4-layer--adam-high"] == {
        "n": 3, "test_barrier": 3.0, "test_line": 3.0, "test_disconnected": 1, "train_barrier": 1.0, "train_line": 1.0,
        "train_disconnected": 0,
    }  # fmt: skip
    lost = metrics["8-layer--adam-high"]
    assert lost["test_barrier"] is None and lost["test_disconnected"] is None
    assert "4-layer--adam-medium" not in metrics


def test_the_headline_counts_test_verdicts_and_has_a_mean_per_study(write_study) -> None:
    folder = write_study()
    report = report_of(folder)
    means = [e.cell.summary["test"].mean for e in report.tables[0].entries if e.cell]
    known = [mean for mean in means if mean is not None]
    first = headline(report)
    assert first == {
        "cells": len(means), "disconnected": 2, "unequal_ends": 0, "no_verdict": 1, "statements": 0,
        "barrier": {"table1": pytest.approx(sum(known) / len(known), abs=5e-5)},
    }  # fmt: skip
    assert 1 < len(known) < len(means)
    make_unequal(folder, "4-layer--adam-high")
    counts = {"disconnected": 1, "unequal_ends": 1}
    assert headline(report_of(folder)) == {**first, **counts}  # Eq. 1 is as it was
    nothing = {"test": {"mean": None, "verdict": None}}
    change_cells(folder, **{entry.cell.key: nothing for entry in report.tables[0].entries if entry.cell})
    lost = headline(report_of(folder))
    assert (lost["no_verdict"], lost["barrier"]) == (len(means), {"table1": None})


def test_the_paths_that_dvc_plots_are_means_over_pairs_at_the_last_epoch(write_study) -> None:
    (table,) = report_of(write_study()).tables
    rows = list(csv.DictReader(mean_paths(table).splitlines()))
    cells = [entry.cell for entry in table.entries if entry.cell]
    assert len(rows) == len(cells) * 2 * table.results.points
    for cell in cells:
        for split in ("test", "train"):
            curves = [table.results.curves[cell.key, pair.pair, pair.epoch, split] for pair in cell.pairs]
            mine = [r for r in rows if (r["row"], r["column"], r["split"]) == (cell.row, cell.column, split)]
            assert [float(row["alpha"]) for row in mine] == list(curves[0].alphas)
            errors = [100 * sum(curve.errors[i] for curve in curves) / len(curves) for i in range(len(mine))]
            assert [float(row["error"]) for row in mine] == pytest.approx(errors, rel=1e-3)


@only_svg
def test_damage_leaves_the_old_report(write_study, tmp_path: Path) -> None:
    folder = write_study()
    write_report(report_of(folder), tmp_path / "report")
    before = (tmp_path / "report" / "report.md").read_text()
    (folder / "cells.json").write_text("[{")
    with pytest.raises(LmcError, match=r"cells\.json"):
        write_report(report_of(folder), tmp_path / "report")
    assert (tmp_path / "report" / "report.md").read_text() == before


@only_svg
def test_markdown_links_to_its_own_sections_only(write_study) -> None:
    folder = write_study("paper")
    text = markdown(report_document(read_report(folder.parent, {"table1": Asked("a"), "figure1": Asked("b")})))
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= set(re.findall(r'<a id="([^"]*)">', text))
    assert "[Table 1](#study-table1)" in text and "**3.00 / 1.00**<br>test disconnected" in text
    assert "![Error along the path, Table 1: linear networks](figures/table1.svg)" in text
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Linear mode connectivity: results"]


@pytest.mark.parametrize("width", [140, 80, 44])
def test_every_number_is_there_at_every_width(write_study, width: int) -> None:
    claim = Claim(text="c", statements=(Statement(text="s(4)", connected=("4-layer",), columns=("sgd-high",)),))
    planned = (Planned("16-layer", "sgd-high", "16", None, "mlp", 6, 2e12, 0.25),)
    report = report_of(write_study("paper"), claim=claim, profile="paper", planned=planned)
    console = Console(file=io.StringIO(), width=width)
    print_overview(report, console)
    print_block(study_section(report.parts[0]), console)
    print_block(Section("[bold]", (SMALL,)), console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width and "[bold]" in lines  # text is shown as it is
    text = " ".join(" ".join(lines).split())
    numbers = ("0.30 / 0.10", "3.00 / 1.00", "72.00 / 60.00", "47.74 / 48.91", "no verdict", "not run")
    for part in (*numbers, "paper (MNIST)", "Appendix D", "not run: 1 cell,", "s(4)", "3 of 3", "holds", "P: "):
        assert part in text, part
    assert "T: " not in text  # a flag that no cell has


def test_csv_of_a_table(write_study) -> None:
    assert list(csv.reader(io.StringIO(csv_table(SMALL)))) == [["a_b", "ours"], ["x & y", "1.00; n 3"], ["$", "-"]]
    summary = summary_table(report_of(write_study()).tables[0])
    rows = list(csv.DictReader(io.StringIO(csv_table(summary))))
    assert len(rows) == 10 and rows[2]["mean"] == "3.00" and rows[2]["values"] == "1.00, 3.00, 5.00"
