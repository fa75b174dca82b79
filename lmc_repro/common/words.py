"""Words of counts."""

from __future__ import annotations


def counted(count: int, word: str) -> str:
    """Return a count and its word: `1 cell`, `2 cells`, `3 processes`."""
    return f"{count} {word}{'' if count == 1 else 'es' if word.endswith('s') else 's'}"
