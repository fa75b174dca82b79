"""Take the pictures of the documentation: MLflow's pages of a study, and its report. `make screenshots`.

Run in the project's folder, after `dvc repro` or `lmc run STUDY`, with `tests/e2e` on PYTHONPATH for the browser.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from browsing import charts, chromium, names_of_rows, open_page, served, why_not

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTH = 1280  # pixels; a README shows about 900 of them


def main() -> None:
    """Parse the arguments, serve the store, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition(".")[0])
    parser.add_argument("study", nargs="?", default="table1")
    parser.add_argument("--out", type=Path, default=Path("docs/img"), help="folder of the pictures")
    arguments = parser.parse_args()
    if (reason := why_not()) is not None:
        sys.exit(f"screenshots: {reason}")
    report = find_report(arguments.study)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with served(start, arguments.study) as links, chromium() as browser:
        picture_view(browser, links["view"], arguments.out / "mlflow-view.png")
        picture_table(browser, links["table"], arguments.out / "mlflow-table.png")
        picture_comparison(browser, links["side by side"], arguments.out / "mlflow-compare.png")
        picture_report(browser, report, arguments.out)
    print("\n".join(f"{path}  {path.stat().st_size // 1000} kB" for path in sorted(arguments.out.glob("*.png"))))


def start(*command: str) -> subprocess.Popen[str]:
    """Start a command in the project's folder."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def find_report(study: str) -> Path:
    """Return the report of `dvc repro`, else the newest of `lmc run STUDY`; leave with one line if there is none."""
    ours = Path("report/index.html")
    others = sorted(Path("out").glob(f"*/{study}/report/index.html"), key=os.path.getmtime)
    if not ours.is_file() and not others:
        sys.exit(f"screenshots: no report here; run `dvc repro` or `lmc run {study}` first")
    return (ours if ours.is_file() else others[-1]).resolve()


def picture_view(browser: Browser, link: str, path: Path) -> None:
    """The published view: paths over one another, and bars."""
    page = open_page(browser, WIDTH, 1420)
    page.goto(link)
    charts(page, 4)
    page.get_by_role("button", name="Hide banner").click()
    page.wait_for_timeout(1000)
    page.screenshot(path=path)


def picture_table(browser: Browser, link: str, path: Path) -> None:
    """The nested table, one cell unfolded."""
    page = open_page(browser, WIDTH, 760)
    page.goto(link)
    load_all(page)
    cells = names_of_rows(page)
    page.get_by_role("button", name="Hide banner").click()
    chosen = next((i for i, name in enumerate(cells) if name.startswith("adam-high 8-layer")), len(cells) - 1)
    row = page.locator(f".ag-row[row-index='{chosen}']", has=page.locator("a[href*='/runs/']"))
    row.locator("button").first.click()
    while names_of_rows(page) == cells:
        page.wait_for_timeout(500)
    row.first.evaluate("row => row.scrollIntoView({block: 'start'})")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    page.screenshot(path=path)


def load_all(page: Page) -> None:
    """Bring in what is beyond the first hundred runs; its button is there when the end of the list is in sight."""
    names_of_rows(page)
    table, more = page.locator(".ag-body-viewport"), page.get_by_role("button", name="Load more")
    table.evaluate("table => { table.scrollTop = table.scrollHeight; }")
    page.wait_for_timeout(2000)
    while more.count():
        more.click()
        page.wait_for_timeout(2000)
        table.evaluate("table => { table.scrollTop = table.scrollHeight; }")
        page.wait_for_timeout(2000)
    table.evaluate("table => { table.scrollTop = 0; }")
    page.wait_for_timeout(1000)


def picture_comparison(browser: Browser, link: str, path: Path) -> None:
    """The pairs with the largest barriers side by side: names and metrics."""
    page = open_page(browser, WIDTH, 900)
    page.goto(link)
    page.get_by_text("barrier/test_norm_pct").first.wait_for()
    for part in ("Visualizations", "Parameters"):
        page.get_by_text(part, exact=True).click()
    page.wait_for_timeout(1000)
    page.screenshot(path=path)


def picture_report(browser: Browser, report: Path, out: Path) -> None:
    """The report on a desk and on a telephone."""
    for name, width, height in (("report", WIDTH, 1400), ("report-phone", 400, 800)):
        page = open_page(browser, width, height)
        page.goto(report.as_uri())
        if width < 500:
            page.locator(".cells tr", has=page.locator("td a")).first.evaluate("row => row.scrollIntoView()")
        page.screenshot(path=out / f"{name}.png")


if __name__ == "__main__":
    main()
