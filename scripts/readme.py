"""Write the tables of results in README.md and docs/method.md from results, so that they cannot drift.

Fills every block between `<!-- results: NAME -->` and `<!-- end -->`; tests/test_readme.py holds them to the files.
`digits` comes from results/table1 (`make repro`), `ten-seeds` and `paper` from the results kept below docs/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lmc_repro.common.errors import LmcError
from lmc_repro.report.grid import flags, points, spread, study_table
from lmc_repro.report.reproduction import Part, read_parts
from lmc_repro.report.text import markdown_table
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import CellRecord

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/method.md")
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def number(cell: CellRecord) -> str:
    """Return `mean (range)` of Eq. 1 on test, bold where disconnected, the line barrier, and the flags."""
    summary = cell.summary["test"]
    if summary.mean is None:
        return "diverged or collapsed"
    bold = "**" if summary.verdict == "disconnected" else ""
    unequal = ", unequal ends" if summary.verdict == "unequal ends" else ""
    mean = f"{bold}{points(summary.mean)}{bold} ({spread(summary)})"
    return f"{mean}, line {points(summary.line_mean)}{unequal} {flags(cell)}".strip()


def grid(folder: Path) -> str:
    """Return a study's grid on test: rows by columns."""
    table = study_table(read_study(folder))
    lines = []
    for row in table.rows:
        cells = [entry.cell for entry in table.line(row)]
        if any(cells):
            lines.append([row.label, *(number(cell) if cell else "" for cell in cells)])
    return markdown_table(["test barrier, points", *(column.label for column in table.columns)], lines)


def paper() -> str:
    """Return the kept cells for which the paper prints a number, ours beside the paper's, on test."""
    lines = []
    for folder in sorted((ROOT / "docs/reproduction").iterdir()):
        for part in read_parts(folder) if folder.is_dir() else ():
            lines += list(paper_lines(part))
    header = ["", "", "setting", "n", "ours: mean (range), line", "paper"]
    return markdown_table(header, sorted(lines))


def paper_lines(part: Part) -> Iterator[list[str]]:
    """Yield a line per cell of a part that the paper prints a number for."""
    for entry in part.table.entries:
        if entry.cell is None or entry.paper is None:
            continue
        model = entry.cell.config["model"]
        init = "" if model["init"] == "torch-default" else f", {model['init']}"
        width = f"width {model['width']}" if model.get("width") else ""
        study = part.table.results.title.partition(":")[0]
        setting = f"{width}{init}".strip(", ")
        yield [study, entry.label, setting, str(entry.n), number(entry.cell), points(entry.paper["test"])]


BLOCKS: dict[str, Callable[[], str]] = {
    "digits": lambda: grid(ROOT / "results/table1"),
    "ten-seeds": lambda: grid(ROOT / "docs/ten-seeds"),
    "paper": paper,
}


def filled(text: str, blocks: dict[str, Callable[[], str]] = BLOCKS) -> str:
    """Return a page with its blocks made anew; those that `blocks` does not name stay as they are."""

    def block(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        return f"{begin}\n{blocks[name]()}\n{end}" if name in blocks else found[0]

    return BLOCK.sub(block, text)


def main() -> None:
    """Fill the blocks of all pages."""
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    try:
        main()
    except LmcError as error:
        sys.exit(f"error: {error}")
