"""What stands in the report beside the studies: exhibits that need no training of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """A part of the report with its texts made already.

    `key` names it in the overview and in links; `outcome` is one sentence; `markdown` and `html` stand below its
    heading (headings inside from the third level; all of `html` is escaped by its maker); `figures` are files by
    their names below report/figures; `data` is what `lmc report --json` prints of it.
    """

    key: str
    title: str
    outcome: str
    markdown: str
    html: str
    figures: Mapping[str, bytes] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
