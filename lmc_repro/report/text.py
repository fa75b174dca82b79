"""Renders documents as Markdown and on a terminal, and tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence, Set
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from lmc_repro.report.contents import Report, total
from lmc_repro.report.document import overview_table
from lmc_repro.report.model import Block, Figure, Items, Paragraph, Section, Table, Value, cell_of, flat

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
_PIPE = re.compile(r"\\*\|")
_NUMBER = re.compile(r"-|[\d.]+( ± [\d.]+)?")


def markdown(section: Section) -> str:
    """Return a document in Markdown: figures are links below figures/, folded sections HTML's details."""
    return _block(section, 1, section.keys("markdown"))


def _block(block: Block, level: int, keys: Set[str]) -> str:
    """Return a block; links lead only to sections with one of the `keys`."""
    if isinstance(block, Section):
        anchor = f'<a id="{block.key}"></a>\n\n' if block.key else ""
        body = "\n".join(_block(inner, level + (not block.folded), keys) for inner in block.shown("markdown"))
        if block.folded:
            # The attribute is for the documentation's site; a forge reads Markdown there without it.
            return f'{anchor}<details markdown="1"><summary>{_safe(block.title)}</summary>\n\n{body}\n</details>\n'
        return f"{anchor}{'#' * level} {_safe(block.title)}\n\n{body}"
    if isinstance(block, Paragraph):
        return f"**{_safe(block.text)}**\n" if block.kind else f"{_safe(block.text)}\n"
    if isinstance(block, Items):
        return "".join(f"- {_safe(name)}: {_value(value, keys)}\n" for name, value in block.pairs)
    if isinstance(block, Figure):
        caption = f"{_safe(block.caption)}\n\n" if block.caption else ""
        return f"{caption}![{_safe(block.alt.partition('.')[0])}](figures/{block.name}.{block.shown})\n"
    rows = ([_value(value, keys) for value in row] for row in block.rows)
    return f"{_safe(block.caption)}:\n\n{markdown_table(tuple(map(_safe, block.header)), rows)}"


def _safe(text: str) -> str:
    """Return text in which Markdown sees no HTML and no link: titles, labels and sentences are a user's."""
    text = re.sub(r"\\(?=[!-/:-@\[-`{-~])", r"\\\\", text)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).replace("](", "]\\(")


def _value(value: Value, keys: Set[str]) -> str:
    cell = cell_of(value)
    first, *rest = map(_safe, cell.lines)
    first = f"**{first}**" if cell.strong else first
    if cell.link and (not cell.link.startswith("#") or cell.link[1:] in keys):
        first = f"[{first}]({cell.link})"
    return "<br>".join([first, *rest])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; pipes in cells are escaped."""

    def escaped(pipe: re.Match[str]) -> str:
        return "\\|" if pipe[0] == "|" else f"{pipe[0][:-1]}&#124;"  # a backslash before it would be escaped instead

    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(_PIPE.sub(escaped, str(cell)) for cell in line) + " |\n" for line in lines)


def csv_table(table: Table) -> str:
    """Return a table as CSV; a value of several lines stands on one."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.header, *(map(flat, row) for row in table.rows)])
    return out.getvalue()


def latex_table(table: Table) -> str:
    """Return a table as wide as a column of LaTeX, which needs booktabs and tabularx.

    Values of the first column are headings of the rows below them; the second column's lines break where there is no
    room. Columns of numbers are set flush right.
    """
    names = [_latex(name) for name in table.header[1:]]
    columns = r">{\raggedright\arraybackslash}X" + "".join(
        "r" if all(_NUMBER.fullmatch(flat(row[i])) for row in table.rows) else "l" for i in range(2, len(table.header))
    )
    lines: list[str] = []
    for first, rows in groupby(table.rows, key=lambda row: flat(row[0])):
        heading = rf"\multicolumn{{{len(names)}}}{{@{{}}l@{{}}}}{{\emph{{{_latex(first)}}}}}"
        below = (" & ".join(map(_latex, row[1:])) for row in rows)
        lines += [r"\addlinespace"] * bool(lines) + [rf"{line} \\" for line in (heading, *below)]
    return "\n".join([
        r"% \usepackage{booktabs,tabularx}", r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_latex(table.caption)}}}", rf"\begin{{tabularx}}{{\columnwidth}}{{@{{}}{columns}@{{}}}}",
        r"\toprule", rf"{' & '.join(names)} \\", r"\midrule", *lines, r"\bottomrule",
        r"\end{tabularx}", r"\end{table}", "",
    ])  # fmt: skip


def _latex(value: Value) -> str:
    return re.sub(r"[\\~^&%$#_{}<>|±]", lambda c: _LATEX.get(c[0], f"\\{c[0]}"), flat(value))


def print_overview(report: Report, console: Console) -> None:
    """Print a line per study and its outcome; where studies of the paper are, one per exhibit of the paper."""
    print_block(overview_table(report), console)
    if report.not_run:
        console.print(f"not run: {total(report.not_run)}; each is at the end of report.md", highlight=False)


def print_block(block: Block, console: Console) -> None:
    """Print a block and all that it holds for terminals, folded sections last; figures are left to pages."""

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False)

    if isinstance(block, Section):
        line(block.title, "bold")
        for inner in sorted(block.shown("terminal"), key=lambda b: isinstance(b, Section) and b.folded):
            print_block(inner, console)
    elif isinstance(block, Paragraph):
        line(block.text, "yellow" if block.kind == "note" else "")
    elif isinstance(block, Items):
        for name, value in block.pairs:
            line(f"{name}: {flat(value)}", "dim")
    elif not isinstance(block, Figure):
        grid = _grid(block)
        if console.measure(grid, options=console.options.update(width=1000)).minimum <= console.width:
            console.print(grid)
            return
        line(block.caption, "italic")
        for row in block.rows:
            console.print(_text(row[0]))
            for i, (name, value) in enumerate(zip(block.header[1:], row[1:], strict=True), start=1):
                line(f"  {name}", "dim")
                for part in _text(value, "dim" if i in block.paper else "").split():
                    part.pad_left(4)
                    console.print(part)


def _grid(table: Table) -> Grid:
    """Return rich's table; a line of a value that is short is never broken."""
    grid = Grid(title=escape(table.caption), title_justify="left", box=box.SIMPLE, show_lines=table.places)
    for i, name in enumerate(table.header):
        longest = max((len(line) for row in table.rows for line in cell_of(row[i]).lines), default=0)
        grid.add_column(escape(name), min_width=min(longest, 16), style="dim" if i in table.paper else "")
    for row in table.rows:
        grid.add_row(*map(_text, row))
    return grid


def _text(value: Value, style: str = "") -> Text:
    cell = cell_of(value)
    text = Text(cell.lines[0], style="bold" if cell.strong else style)
    for line in cell.lines[1:]:
        text.append(f"\n{line}", style="not bold")
    return text
