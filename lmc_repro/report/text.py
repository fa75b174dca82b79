"""Renders documents as Markdown, and tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence, Set
from typing import Any

from lmc_repro.report.model import Block, Figure, Items, Paragraph, Section, Table, Value, cell_of, flat

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def markdown(section: Section, level: int = 1, keys: Set[str] | None = None) -> str:
    """Return a section in Markdown: figures are links below figures/, folded sections HTML's details.

    Args:
        section: what to render.
        level: that of its heading.
        keys: the sections that links can lead to; by default those within `section`.
    """
    keys = section.keys("markdown") if keys is None else keys
    anchor = f'<a id="{section.key}"></a>\n\n' if section.key else ""
    body = "\n".join(_block(block, level + (not section.folded), keys) for block in section.shown("markdown"))
    if section.folded:
        # The attribute is for the documentation's site; a forge reads Markdown there without it.
        return f'{anchor}<details markdown="1"><summary>{section.title}</summary>\n\n{body}\n</details>\n'
    return f"{anchor}{'#' * level} {section.title}\n\n{body}"


def _block(block: Block, level: int, keys: Set[str]) -> str:
    if isinstance(block, Section):
        return markdown(block, level, keys)
    if isinstance(block, Paragraph):
        return f"**{block.text}**\n" if block.note else f"{block.text}\n"
    if isinstance(block, Items):
        return "".join(f"- {name}: {_value(value, keys)}\n" for name, value in block.pairs)
    if isinstance(block, Figure):
        return f"![{block.alt.partition('.')[0]}](figures/{block.name}.{block.shown})\n"
    rows = ([_value(value, keys) for value in row] for row in block.rows)
    return f"{block.caption}:\n\n{markdown_table(block.header, rows)}"


def _value(value: Value, keys: Set[str]) -> str:
    cell = cell_of(value)
    first, *rest = cell.lines
    first = f"**{first}**" if cell.strong else first
    if cell.link and (not cell.link.startswith("#") or cell.link[1:] in keys):
        first = f"[{first}]({cell.link})"
    return "<br>".join([first, *rest])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; pipes in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def csv_table(table: Table) -> str:
    """Return a table as CSV; a value of several lines stands on one."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([table.header, *([flat(value) for value in row] for row in table.rows)])
    return out.getvalue()


def latex_table(table: Table) -> str:
    """Return a table as a LaTeX `table` that needs booktabs; lines of a value stand below one another."""
    lines = [" & ".join(map(_escaped, table.header)), *(" & ".join(map(_latex, row)) for row in table.rows)]
    head, *rows = (f"{line} \\\\\n" for line in lines)
    columns = "l" * len(table.header)
    return (
        f"\\begin{{table}}\n\\caption{{{_escaped(table.caption)}}}\n\\begin{{tabular}}{{{columns}}}\n"
        f"\\toprule\n{head}\\midrule\n{''.join(rows)}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _latex(value: Value) -> str:
    cell = cell_of(value)
    first, *rest = map(_escaped, cell.lines)
    lines = [f"\\textbf{{{first}}}" if cell.strong else first, *rest]
    return r"\shortstack[l]{" + r" \\ ".join(lines) + "}" if rest else lines[0]


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _LATEX[found[0]], text)
