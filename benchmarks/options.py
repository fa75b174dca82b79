"""How much is measured."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`repeats` of each measurement; `quick`: a smoke run on a little random data, whose numbers mean nothing."""

    repeats: int = 5
    quick: bool = False


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
