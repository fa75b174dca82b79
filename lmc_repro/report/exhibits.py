"""Exhibits in a report: what each shows, its tables and its figure, in Markdown, on a page and on a terminal."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.errors import LmcError
from lmc_repro.files import read_json
from lmc_repro.report.exhibit_words import WORDS, Words
from lmc_repro.report.markdown import markdown_table
from lmc_repro.report.sections import Section
from lmc_repro.report.templates import template
from lmc_repro.report.words import NOT_RUN

if TYPE_CHECKING:
    from rich.console import Console

EXHIBIT = "exhibit.json"
IMAGES = "images.safetensors"


def exhibit_sections(results: Path, keys: Iterable[str]) -> list[Section]:
    """Return a section for each exhibit in results/<key>/; one that was not made yet says so."""
    sections = []
    for key in keys:
        if (results / key / EXHIBIT).exists():
            sections.append(exhibit_section(results / key))
        else:
            nothing = Words(f"{NOT_RUN.capitalize()}: no results; `lmc exhibit {key}` makes them.", "", ())
            sections.append(_section(key, {"title": key, "question": "", "provenance": {}}, nothing, {}))
    return sections


def exhibit_section(folder: Path) -> Section:
    """Return the section of results/<key>/; LmcError that names a damaged or missing file."""
    found, words = _read(folder)
    figures = _figure(found, folder) if found["kind"] == "batches" and "not_run" not in found else {}
    return _section(folder.name, found, words, figures)


def print_exhibit(folder: Path, console: Console) -> None:
    """Print what an exhibit shows, and its tables; LmcError as above."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found, words = _read(folder)
    console.print(found["title"], style="bold", markup=False, highlight=False)
    for text in (found["question"], words.shows, words.outcome):
        if text:
            console.print(text, markup=False, highlight=False)
    for grid in words.grids:
        table = Table(*grid.header, title=grid.caption, title_justify="left", box=box.SIMPLE)
        for row in grid.rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _read(folder: Path) -> tuple[dict[str, Any], Words]:
    fix = f"run `lmc exhibit {folder.name}`"
    path = folder / EXHIBIT
    found = read_json(path, fix)
    try:
        for name in ("title", "question", "provenance"):
            found[name]
        if "not_run" in found:
            return found, Words(f"{NOT_RUN.capitalize()}: {found['not_run']}.", "", ())
        return found, WORDS[found["kind"]](found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise LmcError(f"{path}: not an exhibit ({type(error).__name__}: {error}); {fix}") from None


def _section(key: str, found: Mapping[str, Any], words: Words, figures: Mapping[str, bytes]) -> Section:
    picture = _address(figures.get("png"))
    html = template("exhibit.html.j2").render(key=key, found=found, words=words, picture=picture)
    return Section(
        key=key,
        title=found["title"],
        outcome=words.outcome,
        markdown=_markdown(key, found, words, bool(figures)),
        html=html,
        figures={f"{key}.{kind}": content for kind, content in figures.items()},
        data=found,
    )


def _markdown(key: str, found: Mapping[str, Any], words: Words, with_figure: bool) -> str:
    parts = [f"{text}\n" for text in (found["question"], words.shows, words.outcome) if text]
    parts += [f"{grid.caption}:\n\n{markdown_table(grid.header, grid.rows)}" for grid in words.grids]
    if with_figure:
        parts.append(f"![{found['title']}](figures/{key}.png)\n")
    parts.append("".join(f"- `{name}`: {source}\n" for name, source in found["provenance"].items()))
    return "\n".join(part for part in parts if part)


def _address(png: bytes | None) -> str:
    """Return the picture as an address that holds it, for a page that fetches nothing; empty without one."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""


def _figure(found: Mapping[str, Any], folder: Path) -> dict[str, bytes]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from lmc_repro.report.exhibit_figure import batches_figure

    path = folder / IMAGES
    try:
        return batches_figure(found, load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise LmcError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); run `lmc exhibit {folder.name}`"
        ) from None
