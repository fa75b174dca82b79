"""The report of one study's results, as a command makes it, and results with unequal ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmc_repro.report.contents import Asked, Report, Section, read_report


def report_of(folder: Path, sections: Sequence[Section] = (), **asked: Any) -> Report:
    """Return the report of results/<study>/ alone; `asked` is what is known besides."""
    return read_report(folder.parent, {folder.name: Asked("a title", **asked)}, sections)


def make_unequal(folder: Path, key: str, line: float = 0.5) -> Path:
    """Make a cell's test split one of unequal ends: its line barrier is `line`, Eq. 1 is as it was."""
    cells = json.loads((folder / "cells.json").read_text())
    (cell,) = [cell for cell in cells if cell["cell"] == key]
    cell["test"] |= {"line_mean": line, "verdict": "unequal ends", "verdict_strict": "unequal ends"}
    (folder / "cells.json").write_text(json.dumps(cells))
    return folder
