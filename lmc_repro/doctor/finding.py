"""One line of the doctor's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "info", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    `missing` is something that the project cannot work without, and makes the doctor's exit code 1; a `warning` is
    something to mend; an `info` only says how things are. `mend` is a command, `install` one for each package manager.
    """

    section: str
    name: str
    state: State
    detail: str
    mend: str | None = None
    install: Mapping[str, str] = field(default_factory=dict)


def needs_mending(findings: list[Finding]) -> bool:
    """Return whether something is missing that is needed."""
    return any(finding.state == "missing" for finding in findings)
