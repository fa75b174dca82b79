"""report/index.html in a browser: pages of the results on MNIST that the repository holds, and of the project's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import open_page
from tiny_project import REPOSITORY
from whole_report import svg_alone

from lmc_repro.config.reported import reported_claim
from lmc_repro.config.study import Show
from lmc_repro.report.contents import Asked, Report, StudyPart
from lmc_repro.report.document import report_document
from lmc_repro.report.grid import study_table
from lmc_repro.report.html import html_page
from lmc_repro.results.read import has_results, read_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

OPEN = "document.querySelectorAll('details').forEach(details => { details.open = true; })"
WIDTHS = "[...document.querySelectorAll('.scroll')].map(box => [box.scrollWidth, box.clientWidth])"


KEPT = REPOSITORY / "docs" / "reproduction"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = read_study(KEPT / "table1" / "bs1024-width256")
    drawn = study_table(replace(results, show=Show(x="rows", x_label="depth and batch", value="barrier")))
    parts = StudyPart("table1", drawn, Asked("Table 1")), StudyPart("figure1", None, Asked("Figure 1"))
    path = tmp_path_factory.mktemp("report") / "index.html"
    with svg_alone():
        path.write_text(html_page(report_document(Report(parts))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all finished results: the project's own where there are any, else those that the repository keeps."""
    places = [place for place in sorted((REPOSITORY / "results").glob("*")) if has_results(place)]
    places = places or [place for place in sorted(KEPT.glob("*/*")) if has_results(place)]
    studies = {results.study: study_table(results) for results in map(read_study, places)}
    parts = tuple(StudyPart(key, table, Asked("", claim=reported_claim(key))) for key, table in studies.items())
    path = tmp_path_factory.mktemp("whole") / "index.html"
    with svg_alone():
        path.write_text(html_page(report_document(Report(parts))), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The page on a telephone."""
    page = open_page(browser, 400, 800)
    page.goto(report.as_uri())
    yield page
    page.context.close()


def test_it_asks_for_nothing_but_itself(browser: Browser, report: Path) -> None:
    page = open_page(browser)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))  # its content policy tells here what it refused
    page.goto(report.as_uri())
    page.evaluate(OPEN)
    page.mouse.wheel(0, 100_000)
    page.wait_for_timeout(500)  # for what would be loaded late
    assert (asked, said) == ([report.as_uri()], [])


@pytest.mark.parametrize("details", ["closed", "open"])
def test_it_does_not_overflow_a_telephone(page: Page, details: str) -> None:
    if details == "open":
        page.evaluate(OPEN)
        assert any(wide > 800 for wide, _ in page.evaluate(WIDTHS))  # tables of more than two screens
    boxes = page.evaluate(WIDTHS)
    assert all(shown <= 400 for _, shown in boxes)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    page.evaluate("scrollTo(1000, 0)")
    assert page.evaluate("scrollX") == 0


def test_a_number_leads_to_its_details(page: Page) -> None:
    link = page.locator(".cells td a").first
    summary = page.locator(str(link.get_attribute("href")))
    assert not summary.is_visible()
    link.click()  # a browser opens what is folded around the place that a link leads to
    assert summary.is_visible() and str(link.text_content()).split(" /")[0] in str(
        summary.locator("xpath=..").text_content()
    )


def test_the_first_screen_has_title_result_and_figure_with_the_contents_beside(browser: Browser, whole: Path) -> None:
    page = open_page(browser, 1440, 900)
    page.goto(whole.as_uri())
    figure = page.locator("header svg.drawn").bounding_box()
    lead = page.locator("header .lead").bounding_box()
    contents = page.locator("nav a").first.bounding_box()
    main = page.locator("main").bounding_box()
    assert figure and lead and contents and main
    assert lead["y"] + lead["height"] < figure["y"] and figure["y"] + figure["height"] <= 900
    assert contents["x"] + contents["width"] <= main["x"]
    page.locator("nav a").last.click()
    assert page.evaluate("scrollY") > 900 and page.locator("nav a").first.is_visible()


def test_a_figure_of_values_is_as_wide_as_text_and_can_be_read(browser: Browser, report: Path) -> None:
    page = open_page(browser, 1440, 900)
    page.goto(report.as_uri())
    drawing = page.locator("section svg.drawn")
    box = drawing.bounding_box()
    sizes = drawing.locator("text").evaluate_all(
        "all => all.map(text => parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a)"
    )
    assert box and box["width"] >= 950
    assert len(sizes) > 10 and min(sizes) >= 11


def test_contents_are_folded_on_a_telephone(page: Page) -> None:
    assert not page.locator("nav a").first.is_visible()
    page.locator("nav summary").click()
    assert page.locator("nav a").first.is_visible()


def test_the_whole_page_stays_short_and_small(browser: Browser, whole: Path) -> None:
    """Of a desk's width, all details closed."""
    page = open_page(browser, 1440, 900)
    page.goto(whole.as_uri())
    assert page.locator(".cells td a").count() >= 20
    assert page.evaluate("document.scrollingElement.scrollHeight") <= 12_000
    assert whole.stat().st_size <= 1_000_000


def test_dark_and_print_have_colours_of_their_own(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    found = []
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
        page.emulate_media(media=media, color_scheme=scheme)  # type: ignore[arg-type]
        found.append(page.evaluate(ground))
    white, dark, printed = found
    assert white == printed == "rgb(255, 255, 255)" != dark


def test_a_printed_page_is_not_cut(browser: Browser, report: Path) -> None:
    page = open_page(browser, 718, 1000)  # pixels: A4 less margins of 1 cm
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 718
