"""A headless Chromium, MLflow's pages behind the links of `lmc ui`, and what those pages have drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 90_000  # milliseconds: MLflow's pages are large, and two cores are shared
_DRAWN = ".scatterlayer path.js-line, .barlayer .point path, .parcoords"
# What MLflow keeps of a closed assistant; else the first page of every visitor opens it over a quarter of the width.
_NO_ASSISTANT = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
# Behind each line of a run MLflow draws the same one, unsmoothed and nearly transparent: it is left out.
_CHARTS = """plots => plots.map(plot => ({
    axis: plot.layout.xaxis.title && plot.layout.xaxis.title.text,
    lines: plot.data.filter(line => line.metricHistory && line.marker.color.length === 7).map(line => (
        {run: line.uuid, metric: line.metricKey, x: line.x, y: line.y, colour: line.marker.color})),
    drawn: [...plot.querySelectorAll('path.js-line')].filter(
        path => path.getAttribute('d') && getComputedStyle(path).strokeOpacity === '1').length,
    bars: plot.data.filter(bar => bar.type === 'bar').flatMap(bar => bar.y.map((run, i) => ({run, length: bar.x[i]}))),
}))"""
_ROWS = """names => names.map(
    name => [Number(name.closest('[role=row]').getAttribute('row-index')), name.textContent])"""
_VALUES = """name => {
    const key = name.parentElement, table = key.closest('[role=grid]').parentElement.parentElement;
    return [...table.querySelectorAll('[role=rowgroup] > div')]
        .filter(cell => cell !== key && cell.style.top === key.style.top)
        .sort((one, other) => parseFloat(one.style.left) - parseFloat(other.style.left))
        .map(cell => cell.innerText);
}"""


def why_not() -> str | None:
    """Return why no browser can be started here, None if one can."""
    if find_spec("playwright") is None:
        return "playwright is not installed: pip install -c constraints.txt -e '.[dev]'"
    if _executable() is None:
        return "no chromium on PATH: scripts/chromium.sh installs it"
    return None


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser until the block is left."""
    from playwright.sync_api import sync_playwright

    # No sandbox, for root in a container has none; it sees nothing but our own pages.
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_executable(), args=switches)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, width: int = 1600, height: int = 1000, **more: Any) -> Page:
    """Return an empty page of a visitor of its own, MLflow's assistant closed; `more` goes to playwright's context."""
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    context.set_default_timeout(PATIENCE)
    context.add_init_script(_NO_ASSISTANT)
    return context.new_page()


@contextmanager
def served(start: Callable[..., subprocess.Popen[str]], *arguments: str) -> Iterator[dict[str, str]]:
    """Run `lmc ui` by `start` until the block is left; give the links that it prints, by the first words of each."""
    with start("lmc", "ui", *arguments) as process:
        try:
            printed = ""
            assert process.stdout is not None
            for line in process.stdout:
                printed += line
                if line.startswith("Ctrl-C"):
                    break
            else:
                raise AssertionError(printed)
            yield dict(re.findall(r"^  ([a-z ]+\b).*\n    (http\S+)$", printed, re.MULTILINE))
        finally:
            process.send_signal(2)  # Ctrl-C
            rest, _ = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, "server ended\n"), rest


def charts(page: Page, count: int = 1) -> list[dict[str, Any]]:
    """Return what is in the charts of the page, once there are `count` of them, drawn, and nothing is added any more.

    Each has `axis`, the title below; `lines` (run, metric, x, y, colour), and how many lines are `drawn`; `bars` (run,
    length).
    """
    page.wait_for_function(
        f"""count => {{
            const plots = [...document.querySelectorAll('.js-plotly-plot')];
            return plots.length >= count && plots.every(plot => plot.querySelector('{_DRAWN}'));
        }}""",
        arg=count,
    )
    before: list[dict[str, Any]] = []
    while repr(found := page.locator(".js-plotly-plot").evaluate_all(_CHARTS)) != repr(before):  # repr: NaN is NaN
        before = found
        page.wait_for_timeout(1000)  # histories of runs arrive in parts
    return before


def names_of_rows(page: Page) -> list[str]:
    """Return the names in the table of runs, from above."""
    names = page.locator(".ag-row a[href*='/runs/']")
    names.first.wait_for()
    return [name for _, name in sorted(names.evaluate_all(_ROWS))]


def compared(page: Page, metric: str) -> list[float]:
    """Return the values of a metric on the page that sets runs side by side, from the left."""
    name = page.locator("a[title='Plot chart']", has_text=re.compile(f"^{re.escape(metric)}$"))
    name.wait_for()
    return [float(value) for value in name.evaluate(_VALUES)]


def _executable() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
