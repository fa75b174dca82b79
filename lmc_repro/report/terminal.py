"""A study's table on the terminal: the grid where there is room, one cell a line or below another where not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.report.agreement import OUTCOME_HEADINGS, OUTCOMES, compared, two_by_two, unequal_ends
from lmc_repro.report.contents import Report, Section, StudyPart
from lmc_repro.report.overview import Line, overview
from lmc_repro.report.planned import total
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.words import FLAGS, NOT_RUN, analogue_note, entry_lines, heading, paper_name, paper_numbers

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_COLUMN = 24  # characters that an entry of the grid needs
_NARROW = 72  # below, a table breaks its numbers


def print_overview(report: Report, console: Console) -> None:
    """Print a line for each table, figure and appendix of the paper: the study that remakes it, and its outcome."""
    from rich import box
    from rich.table import Table

    listed = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for name in ("paper", "here"):
        listed.add_column(name, no_wrap=console.width >= _NARROW)
    listed.add_column("what came out")
    for line in overview(report):
        place = line.key or line.place
        listed.add_row(line.exhibit, place if len(place) < 20 else "", _plain(line, place), style=None)
    console.print(listed)
    if report.not_run:
        console.print(f"not run: {total(report.not_run)}; each is at the end of report.md", highlight=False)


def print_section(section: Section, console: Console) -> None:
    """Print what an exhibit shows, and its tables."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(section.title, style="bold", markup=False, highlight=False)
    for text in (section.question, section.shows, section.outcome):
        if text:
            console.print(text, markup=False, highlight=False)
    for grid in section.grids:
        table = Table(*grid.header, title=grid.caption, title_justify="left", box=box.SIMPLE)
        for row in grid.rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _plain(line: Line, place: str) -> Text:
    from rich.text import Text

    said = Text(line.outcome, style="" if line.key else "dim")
    if len(place) >= 20:
        said.append(f" ({place})")
    return said


def print_study(part: StudyPart, console: Console) -> None:
    """Print a study's table, and the paper's statements as they come out in it."""
    if part.table is None:
        console.print(f"{part.title}: {NOT_RUN}, no results", markup=False, highlight=False)
        return
    print_table(part.table, console)
    for found in part.findings:
        favour = f", {found.in_favour} of {found.n} seeds in favour" if found.n else ""
        effect = f": {found.effect}" if found.effect else ""
        said = f"{found.outcome}: {found.text} [{found.cells}]{effect}{favour}"
        console.print(said, markup=False, highlight=False)


def print_table(table: StudyTable, console: Console) -> None:
    """Print a study: heading, barriers (test / train, points) with the paper's under their own name, agreement."""
    results = table.results
    console.print(results.title, style="bold", markup=False, highlight=False)
    console.print(results.question, markup=False, highlight=False)
    if note := analogue_note(results):
        console.print(note, style="yellow", markup=False, highlight=False)
    for name, value in heading(results):
        console.print(f"{name}: {value}", style="dim", markup=False, highlight=False)
    if console.width >= 20 + len(table.columns) * _COLUMN:
        console.print(_grid(table))
    elif console.width >= _NARROW:
        console.print(_list(table))
    else:
        _print_stacked(table, console)
    console.print(
        "Mean barrier in points, test / train; then line barrier, range, verdict, n trainer seeds.", highlight=False
    )
    used = {flag for e in table.entries if e.cell for s in e.cell.summary.values() for flag in s.flags}
    for flag, (letter, meaning) in FLAGS.items():
        if flag in used:
            console.print(f"{letter}  {meaning}", markup=False, highlight=False)
    if not results.analogue:
        _print_agreement(table, console)


def _grid(table: StudyTable) -> Table:
    from rich import box
    from rich.table import Table

    grid = Table("test / train", *(column.label for column in table.columns), box=box.SIMPLE, show_lines=True)
    for row in table.rows:
        cells = []
        for entry in table.line(row):
            text = _ours(entry)
            if table.with_paper:
                text.append(f"\n{paper_name(table.results)}\n{paper_numbers(entry)}", style="dim")
            cells.append(text)
        grid.add_row(row.label, *cells)
    return grid


def _list(table: StudyTable) -> Table:
    from rich import box
    from rich.table import Table

    listed = Table("cell", "ours, test / train", box=box.SIMPLE, show_lines=True)
    if table.with_paper:
        listed.add_column(paper_name(table.results), style="dim")
    for entry in table.entries:
        listed.add_row(entry.label, _ours(entry), *([paper_numbers(entry)] if table.with_paper else []))
    return listed


def _print_stacked(table: StudyTable, console: Console) -> None:
    for entry in table.entries:
        console.print(entry.label, markup=False, highlight=False)
        for line in _ours(entry).split():
            line.pad_left(2)
            console.print(line)
        if table.with_paper:
            said = f"  {paper_name(table.results)} {paper_numbers(entry)}"
            console.print(said, style="dim", markup=False, highlight=False)


def _ours(entry: Entry) -> Text:
    from rich.text import Text

    first, *rest = entry_lines(entry)
    apart = any(entry.verdict(split) == "disconnected" for split in SPLITS)
    text = Text(first, style="bold" if apart else "")
    for line in rest:
        text.append(f"\n{line}")
    return text


def _print_agreement(table: StudyTable, console: Console) -> None:
    for split in reversed(SPLITS):
        cells = compared([table], split)
        for paper, ours in two_by_two(cells).items():
            counts = ", ".join(f"{name} {ours[o]}" for o, name in zip(OUTCOMES, OUTCOME_HEADINGS, strict=True))
            console.print(
                f"{split}, of {sum(ours.values())} cells that are {paper} in the paper: {counts}", highlight=False
            )
        if said := unequal_ends(cells):
            console.print(f"{split}: {said}", markup=False, highlight=False)
