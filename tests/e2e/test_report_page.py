"""report/index.html in a browser: the page of results on MNIST that the repository holds, all of its details open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import open_page
from tiny_project import REPOSITORY

from lmc_repro.report.contents import Asked, Report, StudyPart
from lmc_repro.report.document import report_document
from lmc_repro.report.grid import study_table
from lmc_repro.report.html import html_page
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import Show

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

OPEN = "document.querySelectorAll('details').forEach(details => { details.open = true; })"
WIDTHS = "[...document.querySelectorAll('.scroll')].map(box => [box.scrollWidth, box.clientWidth])"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = read_study(REPOSITORY / "docs" / "reproduction" / "table1" / "bs1024-width256")
    drawn = study_table(replace(results, show=Show("rows", "depth and batch", "barrier")))
    parts = StudyPart("table1", drawn, Asked("Table 1")), StudyPart("figure1", None, Asked("Figure 1"))
    path = tmp_path_factory.mktemp("report") / "index.html"
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
    cell = page.locator(str(link.get_attribute("href")))
    assert not cell.evaluate("details => details.open")
    link.click()
    cell.locator("summary").click()
    assert cell.get_by_text("Configuration").is_visible()


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
