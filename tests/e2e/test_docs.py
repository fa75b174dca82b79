"""The documentation builds without a warning, asks nothing of other machines, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import open_page
from pymdownx.slugs import slugify
from tiny_project import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in (REPOSITORY / "docs").glob("*.md")}
    for page in pages:
        assert [address for address in fetched(page.read_text()) if OUTSIDE.match(address)] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet.name


def test_what_would_be_fetched_is_seen() -> None:
    page = (
        '<link rel="stylesheet" href="//fonts.example/a.css"><script src=https://cdn.example/a.js></script>'
        '<a href="//elsewhere.example">'
    )
    assert fetched(page) == ["//fonts.example/a.css", "https://cdn.example/a.js"]
    assert all(OUTSIDE.match(address) for address in fetched(page)) and not OUTSIDE.match("assets/a.css")


@pytest.mark.slow
def test_the_reference_has_the_docstrings_and_fields(site: Path) -> None:
    text = " ".join(re.sub("<[^>]+>", "", (site / "reference.html").read_text()).split())
    modules = re.findall(r"^::: (\S+)$", (REPOSITORY / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert modules and [module for module in modules if module not in text] == []
    assert "seeds (Seeds)" in text  # of RunConfig
    assert "Yield the batches of one epoch" in text  # of StackLoader


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(params=["disk", "server"])
def home(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """The site's address: its folder, and a server of that folder."""
    if request.param == "disk":
        yield site.as_uri()
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.server
def test_in_a_browser_it_asks_its_own_folder_only_and_finds_words(home: str, browser: Browser) -> None:
    page = open_page(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "mlflow", "reference"):
        page.goto(f"{home}/{name}.html")
        page.wait_for_load_state("networkidle")
    page.keyboard.press("/")
    page.keyboard.type("turbojpeg")
    page.locator(".md-search-result__link", has_text="FFCV").first.wait_for()
    page.context.close()
    assert asked and [address for address in asked if not address.startswith((home, "blob:", "data:"))] == []


def headings(page: Path) -> set[str]:
    slug = slugify(case="lower")
    without_code = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = {slug(title.replace("`", ""), "-") for title in re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)}
    return titles | set(re.findall(r'^<a id="(.+)"></a>$', without_code, re.MULTILINE))


@pytest.mark.parametrize("name", PAGES_OUTSIDE_THE_SITE)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (REPOSITORY / name).read_text()):
        if OUTSIDE.match(target):
            continue
        path, _, anchor = target.partition("#")
        page = REPOSITORY / (path or name)
        assert page.exists(), f"{name}: {target}"
        assert not anchor or anchor in headings(page), f"{name}: {target}"


NAMED = re.compile(r"`((?:[\w./]+\.(?:py|yaml))?)(?:::(\w+))?`")


PAGES_OF_NAMES = [("CONTRIBUTING.md", "."), ("docs/glossary.md", "."), ("docs/guarantees.md", "tests")]


@pytest.mark.parametrize(("page", "below"), PAGES_OF_NAMES)
def test_files_and_names_in_tables_are_there(page: str, below: str) -> None:
    found = 0
    for line in (REPOSITORY / page).read_text().splitlines():
        path = ""
        for file, name in NAMED.findall(line) if line.startswith("|") else ():
            path = file or path  # `::other` is in the file named before
            if not path or "/" not in path:
                continue
            text = (REPOSITORY / below / path).read_text()
            assert not name or re.search(rf"^(?:def|class) {name}\b", text, re.MULTILINE), f"{page}: {path}::{name}"
            found += 1
    assert found > 20


def test_every_package_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    packages = {path.parent.name for path in (REPOSITORY / "lmc_repro").glob("*/__init__.py")}
    assert {name for name, _ in rows} == packages
    assert all(f"`lmc_repro/{name}/" in files for name, files in rows)


WORDS = (
    "run", "stack", "cell", "study", "pair", "path", "curve", "barrier", "floor", "line barrier", "middle",
    "normalised barrier", "trainer seed", "loader seed", "augmentation seed", "effective noise", "endpoint status",
    "verdict", "threshold", "provisional", "borderline", "unequal ends", "nothing to lose", "undertrained", "unstable",
    "evaluation epoch", "fingerprint", "pair key", "profile", "provenance", "spread", "`--pairs`", "`--replicas`",
)  # fmt: skip


def test_every_word_is_in_the_glossary_with_a_file() -> None:
    rows = re.findall(r"^\| (.+?) \| .* \| (.+?) \|$", (REPOSITORY / "docs" / "glossary.md").read_text(), re.MULTILINE)
    where = {word.strip(): files for words, files in rows for word in words.split(",")}
    assert [word for word in WORDS if "/" not in where.get(word, "")] == []
