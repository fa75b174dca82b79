"""Renders documents on a terminal; a table with too little room becomes lines below one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.report.document import overview_table, study_section
from lmc_repro.report.model import Block, Figure, Items, Paragraph, Section, Table, Value, cell_of, flat
from lmc_repro.report.planned import total

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    from lmc_repro.report.contents import Exhibit, Report, StudyPart


def print_overview(report: Report, console: Console) -> None:
    """Print a line for each table, figure and appendix of the paper: the study that remakes it, and its outcome."""
    print_block(overview_table(report), console)
    if report.not_run:
        console.print(f"not run: {total(report.not_run)}; each is at the end of report.md", highlight=False)


def print_study(part: StudyPart, console: Console) -> None:
    """Print a study's tables, and the paper's statements as they come out in it."""
    print_block(study_section(part), console)


def print_section(exhibit: Exhibit, console: Console) -> None:
    """Print what an exhibit shows, and its tables."""
    print_block(exhibit.section, console)


def print_block(block: Block, console: Console) -> None:
    """Print a block and all that it holds for terminals; figures are left to pages."""
    if isinstance(block, Section):
        console.print(block.title, style="bold", markup=False, highlight=False)
        for inner in block.shown("terminal"):
            print_block(inner, console)
    elif isinstance(block, Paragraph):
        console.print(block.text, style="yellow" if block.note else "", markup=False, highlight=False)
    elif isinstance(block, Items):
        for name, value in block.pairs:
            console.print(f"{name}: {flat(value)}", style="dim", markup=False, highlight=False)
    elif not isinstance(block, Figure):
        _print_table(block, console)


def _print_table(table: Table, console: Console) -> None:
    grid = _grid(table)
    if console.measure(grid, options=console.options.update(width=1000)).minimum <= console.width:
        console.print(grid)
        return
    console.print(table.caption, style="italic", markup=False, highlight=False)
    for row in table.rows:
        console.print(_text(row[0]))
        for i, (name, value) in enumerate(zip(table.header[1:], row[1:], strict=True), start=1):
            first, *rest = _text(value, "dim" if i in table.paper else "").split()
            for line in (first, *rest):
                line.pad_left(4)
            console.print(f"  {name}", style="dim", markup=False, highlight=False)
            for line in (first, *rest):
                console.print(line)


def _grid(table: Table) -> Grid:
    """Return rich's table; a line of a value that is short is never broken."""
    from rich import box
    from rich.table import Table as Grid

    grid = Grid(title=table.caption, title_justify="left", box=box.SIMPLE, show_lines=table.places)
    for i, name in enumerate(table.header):
        longest = max((len(line) for row in table.rows for line in cell_of(row[i]).lines), default=0)
        grid.add_column(name, min_width=min(longest, 16), style="dim" if i in table.paper else "")
    for row in table.rows:
        grid.add_row(*map(_text, row))
    return grid


def _text(value: Value, style: str = "") -> Text:
    from rich.text import Text

    cell = cell_of(value)
    text = Text(cell.lines[0], style="bold" if cell.strong else style)
    for line in cell.lines[1:]:
        text.append(f"\n{line}", style="not bold")
    return text
