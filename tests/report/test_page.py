from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from whole_report import report_of

from lmc_repro.report.contents import Asked, read_report
from lmc_repro.report.page import html_page

VOID = {"meta", "br"}  # of those that the page uses
LOADS = {"script", "img", "link", "iframe", "object", "embed", "video", "audio", "source", "image", "use", "base"}


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
        self.elements.append((tag, dict(attrs), []))
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


def _html(folder: Path) -> str:
    return html_page(report_of(folder))


def _tables(text: str) -> list[list[list[str]]]:
    """All tables of some HTML as rows of cells."""
    found = []
    for table in re.findall(r"<table.*?</table>", text, re.S):
        rows = re.findall(r"<tr.*?</tr>", table, re.S)
        found.append([[_plain(c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows])
    return found


def _plain(cell: str) -> str:
    return re.sub(r"<[^>]*>", "", cell.replace("<br>", "\n"))


def _details(text: str, label: str) -> str:
    """The HTML of a cell's details."""
    found = re.findall(r'<details class="cell".*?</details>', text, re.S)
    return next(details for details in found if f"<span>{label}</span>" in details)


def test_numbers_of_the_details_are_those_of_the_files(write_study) -> None:
    folder = write_study()
    text = _html(folder)
    for cell in json.loads((folder / "cells.json").read_text()):
        found = _details(text, f"{cell['row_label']}, {cell['column_label']}")
        summary, pairs, ends, late, _ = _tables(found)

        def said(value: float | None) -> str:
            return "-" if value is None else f"{value:.2f}"

        for row, split in zip(summary[1:], ("test", "train"), strict=True):
            named, numbers = dict(zip(summary[0], row, strict=True)), cell[split]
            assert named["split"] == split and named["n"] == str(len(numbers["values"]))
            assert named["values"] == (", ".join(said(value) for value in numbers["values"]) or "-")
            for name, key in (("mean", "mean"), ("median", "median"), ("sd", "sd"), ("line", "line_mean")):
                assert named[name] == said(numbers[key]), (cell["cell"], split, name)
            assert named["verdict"] == (numbers["verdict"] or "no verdict")
        assert len(pairs) == 1 + 2 * len(cell["pairs"])
        for row in pairs[1:]:
            named = dict(zip(pairs[0], row, strict=True))
            numbers = next(p for p in cell["pairs"] if p["pair"] == named["pair"])[named["split"]]
            assert named["barrier"] == said(numbers["barrier"]) and named["middle"] == said(numbers["midpoint_excess"])
            assert named["errors of the ends"] == f"{numbers['error_0']:.2f} / {numbers['error_1']:.2f}"
        fingerprints = [f for pair in cell["pairs"] for f in pair["fingerprints"]]
        assert [row[-1] for row in ends[1:]] == fingerprints
        assert [row[3] for row in ends[1:]] == [s for pair in cell["pairs"] for s in pair["status"]]
        assert [row[:2] for row in late[1:]] == [[str(m["epoch"]), said(m["mean"])] for m in cell["test"]["late"]]
        assert f"tags.`lmc.cell` = &#39;{cell['cell']}&#39;" in found


def test_the_grid_keeps_the_papers_numbers_apart(write_study) -> None:
    text = _html(write_study())
    head, four, eight = _tables(text)[1]
    assert head[3:5] == ["ADAM high", "paper (MNIST), ADAM high"]
    assert four[3].splitlines() == [
        "3.00 / 1.00",
        "line 3.00 / 1.00",
        "1.00-5.00 / 0.50-1.50",
        "test disconnected (strict: mixed), train connected",
        "n 3, B(test) U(test)",
    ]
    assert four[4] == "47.74 / 48.91" and four[5:] == ["not run", "-"]
    assert eight[3] == "no verdict\nof 3 pairs 2 diverged and 1 collapsed"
    marked = re.findall(r'<td role="cell" data-label="([^"]*)" class="apart">', text)
    assert marked == ["ADAM high", "ADAM medium"]


def test_drawn_curves_are_those_of_the_files(write_study) -> None:
    page = Page(_html(write_study()))
    kinds = [found["class"] for found, _ in page.all("polyline") if found["class"] != "mean"]
    assert len(kinds) == 5 * 3 * 2 and sum("untrained" in str(kind) for kind in kinds) == 2 * (1 + 3)
    path = _tables(_details(_html(write_study()), "4-Layer, BS=1024, ADAM high"))[4]
    assert path[0] == ["alpha", "0", "0.5", "1"] and path[3] == ["pair 1, test", "5.00", "8.00", "5.00"]
    # 5, 8 and 5 % on an axis to 100 %, which lies between the heights 6 (100 %) and 98 (0 %)
    drawn = [found["points"] for found, _ in page.all("polyline") if found["class"] == "test"]
    assert "30.0,93.4 106.0,90.6 182.0,93.4" in drawn


def test_nothing_is_loaded(write_study) -> None:
    text = _html(write_study())
    page = Page(text)
    assert not LOADS & {tag for tag, _, _ in page.elements}
    assert not [found for _, found, _ in page.elements if {"src", "srcset", "xlink:href"} & set(found)]
    assert "url(" not in text and "@import" not in text and "@font-face" not in text
    policy = next(found["content"] for found, _ in page.all("meta") if "http-equiv" in found)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    outside = {str(found["href"]) for found, _ in page.all("a") if not str(found["href"]).startswith("#")}
    assert outside == {"http://127.0.0.1:5000/#/experiments?experimentSearchFilter=lmc%2Ftable1%2Fdigits"}


def test_links_inside_the_page_lead_somewhere(write_study) -> None:
    page = Page(_html(write_study("paper")))
    ids = [found["id"] for _, found, _ in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert {str(found["href"])[1:] for found, _ in page.all("a") if str(found["href"]).startswith("#")} <= set(ids)


def test_it_can_be_read_without_seeing_it(write_study) -> None:
    page = Page(_html(write_study()))
    assert page.all("html")[0][0]["lang"] == "en"
    headings = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1 and all(after - before <= 1 for before, after in pairwise(headings))
    assert all(found.get("scope") in ("col", "row") for found, _ in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    figures = [found["aria-label"] for found, _ in page.all("svg") if found.get("role") == "img"]
    assert len(figures) == 6 + 2
    values = "barrier, points (logarithmic above 2): test. SGD high: 4-Layer, BS=1024 0.30, 8-Layer, BS=1024 0.60; "
    values += "ADAM high: 4-Layer, BS=1024 3.00, 8-Layer, BS=1024 no verdict; ADAM medium: 8-Layer, BS=1024 72.00"
    assert figures[0] == values
    said = "mean barrier, test / train, 3.00 / 1.00 points; disconnected on test"
    assert f"4-Layer, BS=1024, ADAM high: {said}" in figures
    assert "8-Layer, BS=1024, ADAM high: no verdict" in figures and "4-Layer, BS=1024, ADAM medium: not run" in figures


@pytest.mark.parametrize("where", ["title", "label", "provenance"])
def test_text_of_the_files_is_escaped(write_study, where: str) -> None:
    bad = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }}"
    changes = {
        "title": {"title": bad},
        "label": {"rows": [{"key": "4-layer", "label": bad}, {"key": "8-layer", "label": bad}]},
        "provenance": {"provenance": [{"key": bad, "value": bad, "source": bad}]},
    }[where]
    text = _html(write_study(**changes))
    page = Page(text)
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text and "{{ 7 * 7 }}" in text
    assert not [found for _, found, _ in page.elements if "onload" in found]


def test_an_analogue_counts_no_agreement(write_study) -> None:
    page = Page(_html(write_study("digits")))
    said = [text for _, text in page.all("p")]
    assert sum("An analogue: it counts no agreement with the paper." in text for text in said) == 2 + 5
    assert "Agreement with the paper" not in "".join(said) and "judged on" not in "".join(said)


def test_the_papers_data_set_says_where_ours_agrees(write_study) -> None:
    text = _html(write_study("paper"))
    shown = " ".join(text.split())
    assert "on test: 2 connected, 2 disconnected, 1 no verdict, 1 not run (threshold 2 points)" in shown
    assert (
        "Agreement with the paper on test: of 3 cells disconnected in the paper ours are 2 disconnected, 1 no verdict; "
        "of 1 cell connected in the paper ours are 1 connected."
    ) in shown
    four = _details(text, "4-Layer, BS=1024, ADAM high")
    assert "test: paper disconnected, ours disconnected (agrees)" in four
    assert "train: paper disconnected, ours connected (disagrees)" in four
    assert "(neither agreement nor disagreement)" in _details(text, "8-Layer, BS=1024, ADAM high")
    assert _tables(text)[-4][1] == ["paper disconnected: 3", "2", "0", "1", "0"]
    assert "analogue" not in text


def test_other_epochs_count_nothing(write_study) -> None:
    text = _html(write_study("paper", epochs=20))
    assert "No cell has the paper&#39;s data set and epochs: no agreement is counted." in text
    assert "(agrees)" not in text


def test_text_stands_out_from_its_ground_in_light_dark_and_print(write_study) -> None:
    schemes = re.findall(r":root \{(.*?)\}", _html(write_study()), re.S)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): #(\w{6})", scheme))
        for ink in ("ink", "quiet", "apart", "link"):
            for ground in ("paper", "soft"):
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)  # WCAG 2.2, 1.4.3
        assert min(_contrast(colours[line], colours["paper"]) for line in ("test", "train")) >= 3.0  # 1.4.11


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_equal_results_give_equal_text_and_no_dates(write_study) -> None:
    text = _html(write_study())
    assert _html(write_study()) == text
    assert not re.search(r"20\d\d-\d\d", text)


def test_a_study_without_results_is_not_run() -> None:
    text = html_page(read_report(Path("nowhere"), {"table<1>": Asked("Table <1>")}))
    assert "not run: no results; <code>lmc run table&lt;1&gt;</code> makes them." in text
    Page(text)
