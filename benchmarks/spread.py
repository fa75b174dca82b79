"""Several measurements of one thing, as the result file holds them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return median, smallest, largest and number of the measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}
