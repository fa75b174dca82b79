"""Small curves for a terminal, made of block characters; plain ones where the terminal has no others."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*%#@"
WIDTH = 51  # characters that a plot may take: 101 points in pairs

Values = Sequence[float | None]


def ramp() -> str:
    """Return the characters from empty to full that standard output can show."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def spark(values: Values, low: float, high: float, characters: str | None = None) -> str:
    """Return one character a value: the lowest mark at `low` or below, a full block at `high`; `?` for no number."""
    marks = (characters or ramp())[1:]
    height = high - low
    drawn = ""
    for value in values:
        if value is None or not math.isfinite(value):
            drawn += "?"
        else:
            share = (value - low) / height if height > 0 else 0.0
            drawn += marks[max(0, min(len(marks) - 1, round(share * (len(marks) - 1))))]
    return drawn


def plot(values: Values, low: float, high: float, height: int = 4, characters: str | None = None) -> list[str]:
    """Return `height` lines, the first the highest, of columns that stand on `low` and would be full at `high`."""
    marks = characters or ramp()
    steps = len(marks) - 1
    levels = []
    columns = shorten(values, WIDTH)
    wide = WIDTH // max(1, len(columns))  # characters a value: 11 points alone would be a narrow picture
    for value in columns:
        share = 0.0 if value is None or high <= low else (value - low) / (high - low)
        levels.append(max(1, min(height * steps, round(share * height * steps))))  # 1: a line along the bottom
    lines = []
    for line in range(height - 1, -1, -1):
        lines.append("".join(marks[max(0, min(steps, level - line * steps))] * wide for level in levels))
    return lines


def shorten(values: Values, width: int) -> list[float | None]:
    """Return at most `width` values, each the largest of its neighbours, so that no peak is lost."""
    count = len(values)
    if count <= width:
        return list(values)
    parts = [values[i * count // width : (i + 1) * count // width] for i in range(width)]
    return [max((value for value in part if value is not None), default=None) for part in parts]
