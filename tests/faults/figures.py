"""How many faults each group of tests made: printed at the end of a test run."""

from __future__ import annotations

import os

LONG = os.environ.get("LMC_FAULTS") == "long"
"""Whether this is `make faults`: 100 kills and 1,000 configs in place of 20 and 60."""

_FIGURES: dict[str, str] = {}


def note(group: str, figures: str) -> None:
    """Say in a line what a group of tests did; a later call replaces an earlier one."""
    _FIGURES[group] = figures


def lines() -> list[str]:
    """Return a line for each group that ran."""
    return [f"{group}: {figures}" for group, figures in _FIGURES.items()]
