"""The documentation builds without a warning, asks nothing of other machines, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pymdownx.slugs import slugify

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
PAGES_OUTSIDE_THE_SITE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


class Fetched(HTMLParser):
    """Collects the addresses that a browser fetches by itself to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in FETCHED:
            self.addresses.append(given.get(FETCHED[tag]) or "")
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(given.get("href") or "")


def fetched(page: str) -> list[str]:
    parser = Fetched()
    parser.feed(page)
    return parser.addresses


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in (ROOT / "docs").glob("*.md")}
    for page in pages:
        assert [address for address in fetched(page.read_text()) if OUTSIDE.match(address)] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet.name


def test_what_would_be_fetched_is_seen() -> None:
    page = '<link rel="stylesheet" href="//fonts.example/a.css"><script src=https://cdn.example/a.js></script><a href="//b">'
    assert fetched(page) == ["//fonts.example/a.css", "https://cdn.example/a.js"]
    assert all(OUTSIDE.match(address) for address in fetched(page)) and not OUTSIDE.match("assets/a.css")


@pytest.mark.slow
def test_the_reference_has_the_docstrings(site: Path) -> None:
    text = re.sub("<[^>]+>", "", (site / "reference.html").read_text())
    for line in re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE):
        assert line in text
    assert "the ends included" in text or "ends" in text
    assert "batch_size" in text  # a field of a configuration


def headings(page: Path) -> set[str]:
    slug = slugify(case="lower")
    without_code = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(title.replace("`", ""), "-") for title in re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)}


@pytest.mark.parametrize("name", PAGES_OUTSIDE_THE_SITE)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text()):
        if OUTSIDE.match(target):
            continue
        path, _, anchor = target.partition("#")
        page = ROOT / (path or name)
        assert page.exists(), f"{name}: {target}"
        assert not anchor or anchor in headings(page), f"{name}: {target}"
