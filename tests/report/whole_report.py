"""The report of one study's results, as a command makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmc_repro.report.contents import Asked, Report, read_report
from lmc_repro.report.sections import Section


def report_of(folder: Path, sections: Sequence[Section] = (), **asked: Any) -> Report:
    """Return the report of results/<study>/ alone; `asked` is what is known besides."""
    return read_report(folder.parent, {folder.name: Asked("a title", **asked)}, sections)
