"""The report of one study's results, as a command makes it, and what its document holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from matplotlib.figure import Figure as Drawing

from lmc_repro.report.contents import Asked, Exhibit, Report, read_report
from lmc_repro.report.document import report_document
from lmc_repro.report.model import Items, Medium, Paragraph, Section, Table, flat


@contextmanager
def svg_alone() -> Iterator[None]:
    """Render the one of a drawing's three files that a page holds; the others take most of its time."""
    savefig = Drawing.savefig

    def save(drawing: Drawing, file: IO[bytes], *, format: str, **more: Any) -> None:
        if format == "svg":
            savefig(drawing, file, format=format, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drawing, "savefig", save)
        yield


def report_of(folder: Path, exhibits: Sequence[Exhibit] = (), **asked: Any) -> Report:
    """Return the report of results/<study>/ alone; `asked` is what is known besides."""
    return read_report(folder.parent, {folder.name: Asked("a title", **asked)}, exhibits)


def document_of(folder: Path, **asked: Any) -> Section:
    """Return its document."""
    return report_document(report_of(folder, **asked))


def section(document: Section, name: str) -> Section:
    """Return the first section with this key or title."""
    return next(s for s in document.walk("html") if isinstance(s, Section) and name in (s.key, s.title))


def tables(part: Section, first: str, medium: Medium = "html") -> list[list[dict[str, str]]]:
    """Return the tables whose header begins with `first`, a dictionary per row."""
    found = [block for block in part.walk(medium) if isinstance(block, Table) and block.header[0] == first]
    return [[dict(zip(block.header, map(flat, row), strict=True)) for row in block.rows] for block in found]


def table(part: Section, first: str) -> list[dict[str, str]]:
    """Return the first of them."""
    return tables(part, first)[0]


def items(part: Section) -> dict[str, str]:
    """Return all items of a section."""
    blocks = [block for block in part.walk("html") if isinstance(block, Items)]
    return {name: flat(value) for block in blocks for name, value in block.pairs}


def said(part: Section) -> list[str]:
    """Return the paragraphs of a section."""
    return [block.text for block in part.walk("html") if isinstance(block, Paragraph)]


def change_cells(folder: Path, **changes: dict[str, Any]) -> Path:
    """Change entries of cells by key, nested dictionaries too."""
    cells = json.loads((folder / "cells.json").read_text())
    for cell in cells:
        for name, value in changes.get(cell["cell"], {}).items():
            cell[name] = cell[name] | value if isinstance(value, dict) else value
    (folder / "cells.json").write_text(json.dumps(cells))
    return folder


def make_unequal(folder: Path, key: str, line: float = 0.5) -> Path:
    """Make a cell's test split one of unequal ends: its line barrier is `line`, Eq. 1 is as it was."""
    verdict = {"line_mean": line, "verdict": "unequal ends", "verdict_strict": "unequal ends"}
    return change_cells(folder, **{key: {"test": verdict}})


def without_column(folder: Path, column: str) -> Path:
    """Remove the cells of a column."""
    cells = [cell for cell in json.loads((folder / "cells.json").read_text()) if cell["column"] != column]
    (folder / "cells.json").write_text(json.dumps(cells))
    return folder
