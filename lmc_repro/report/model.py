"""The document model: sections of paragraphs, items, tables and figures. Built once, rendered for every medium."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Medium = Literal["html", "markdown", "terminal"]
EVERYWHERE: tuple[Medium, ...] = ("html", "markdown", "terminal")
WRITTEN: tuple[Medium, ...] = ("html", "markdown")
PAGE: tuple[Medium, ...] = ("html",)


Line = tuple[str, tuple[tuple[float, float], ...]]
"""A kind of line (test, train, untrained) and its points (alpha, error in percent)."""


@dataclass(frozen=True)
class Curves:
    """Small curves, of which one is on test; `top`: the end of their scale."""

    lines: tuple[Line, ...]
    top: float


@dataclass(frozen=True)
class Cell:
    """A value of several lines. `strong`: the first line stands out; `link`: an address, or # and a key.

    A page links to a cell's own `key`, colours it by `kind` and draws its `curves`.
    """

    lines: tuple[str, ...]
    strong: bool = False
    link: str = ""
    code: bool = False
    key: str = ""
    kind: str = ""
    curves: Curves | None = None


Value = str | Cell


@dataclass(frozen=True)
class Paragraph:
    """Text, in which backticks enclose code; a `note` stands out, a `lead` is the result in a sentence."""

    text: str
    kind: Literal["", "note", "lead"] = ""


@dataclass(frozen=True)
class Items:
    """Names and their values."""

    pairs: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Table:
    """A table; the first column names its rows.

    `paper` numbers the columns that hold the paper's numbers, which stand apart from ours. `places`: its rows may
    stand below one another where there is no room for its columns. `name`: its files' (CSV, LaTeX), where it has any.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    paper: frozenset[int] = frozenset()
    places: bool = False
    name: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing as bytes by kind (png, svg, pdf), of which a page holds `shown`, or names the files if `linked`.

    `name`: its files'; `alt`: it in words; `caption`: how to read it.
    """

    name: str
    alt: str
    files: Mapping[str, bytes]
    shown: Literal["png", "svg"] = "svg"
    caption: str = ""
    linked: bool = False


@dataclass(frozen=True)
class Section:
    """Blocks under a title, in the media named; `key` is what links lead to. `folded`: opened on demand."""

    title: str
    blocks: tuple[Block, ...]
    key: str = ""
    folded: bool = False
    media: tuple[Medium, ...] = EVERYWHERE

    def shown(self, medium: Medium) -> list[Block]:
        """Return the blocks that a medium shows."""
        return [block for block in self.blocks if not isinstance(block, Section) or medium in block.media]

    def walk(self, medium: Medium) -> Iterator[Block]:
        """Yield the section and all that it holds in a medium."""
        yield self
        for block in self.shown(medium):
            yield from block.walk(medium) if isinstance(block, Section) else (block,)

    def keys(self, medium: Medium) -> set[str]:
        """Return the keys that links can lead to."""
        return {block.key for block in self.walk(medium) if isinstance(block, Section)}

    def figures(self) -> list[Figure]:
        """Return all figures."""
        return [block for block in self.walk("html") if isinstance(block, Figure)]

    def tables(self) -> list[Table]:
        """Return all tables that have files of their own."""
        return [block for block in self.walk("html") if isinstance(block, Table) and block.name]


Block = Paragraph | Items | Table | Figure | Section


def cell_of(value: Value) -> Cell:
    """Return a value as a cell."""
    return value if isinstance(value, Cell) else Cell((value,))


def flat(value: Value) -> str:
    """Return a value on one line."""
    return "; ".join(cell_of(value).lines)
