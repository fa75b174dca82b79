"""Renders documents on a terminal; a table with too little room becomes lines below one another."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from lmc_repro.report.contents import Report, total
from lmc_repro.report.document import overview_table
from lmc_repro.report.model import Block, Figure, Items, Paragraph, Section, Table, Value, cell_of, flat


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
