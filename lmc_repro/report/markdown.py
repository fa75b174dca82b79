"""A study's table, its details and the provenance of its numbers, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from lmc_repro.barriers.curve import SplitName
from lmc_repro.report.agreement import (
    OUTCOME_HEADINGS,
    OUTCOMES,
    Compared,
    compared,
    entry_distance,
    two_by_two,
    unequal_ends,
)
from lmc_repro.report.contents import Report, Section, StudyPart
from lmc_repro.report.overview import overview
from lmc_repro.report.planned import NotRun, hours_text, total
from lmc_repro.report.sentences import agrees, figure_shows, statements_show, table_shows, values_show
from lmc_repro.report.statements import Finding
from lmc_repro.report.table import Entry, StudyTable, mean_error, mean_floor
from lmc_repro.report.words import (
    FLAGS,
    NONE,
    NOT_RUN,
    analogue_note,
    axis_label,
    entry_lines,
    heading,
    late_marks,
    letter,
    paper_name,
    paper_numbers,
    points,
    spread,
)
from lmc_repro.results.schema import CellRecord, StudyResults

ORDER: tuple[SplitName, SplitName] = ("test", "train")


STATEMENTS = ("statement", "cells", "effect", "n", "seeds in favour", "outcome")
NOT_RUN_COLUMNS = ("study", "cell", "FLOPs", "hours of one core", "why")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; pipes in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def study_markdown(part: StudyPart, figures: str = "figures") -> str:
    """Return a study's section: question, heading, grid, statements, figures (links below `figures`), details."""
    table = part.table
    if table is None:
        return f"## {part.title}\n\n{NOT_RUN}: no results; `lmc run {part.study}` makes them.\n"
    results = table.results
    parts = [f"## {results.title}\n", f"{results.question}\n"]
    if note := analogue_note(results):
        parts.append(f"**{note}**\n")
    parts.append("".join(f"- {name}: {value}\n" for name, value in heading(results)))
    parts.append(
        f"{table_shows(table)} {agrees(table)} "
        "Below a mean: the line barrier, the range over trainer seeds, verdict, n, flags.\n"
    )
    parts.append(grid_markdown(table))
    if part.claim:
        parts.append(f"{statements_show(part.claim, part.findings)}\n")
    if part.findings:
        parts.append(markdown_table(STATEMENTS, map(statement_row, part.findings)))
    if part.plot:
        parts.append(f"{values_show(part.plot, table)}\n")
        parts.append(f"![{part.plot.y_label}, {results.title}]({figures}/{part.study}-values.svg)\n")
    parts.append(f"{figure_shows(table)}\n")
    parts.append(f"![Error along the path, {results.title}]({figures}/{part.study}.svg)\n")
    parts.append(details_markdown(table))
    return "\n".join(parts)


def section_markdown(section: Section) -> str:
    """Return an exhibit's section: question, outcome, tables, figure and where its settings come from."""
    parts = [f"## {section.title}\n"]
    parts += [f"{text}\n" for text in (section.question, section.shows, section.outcome) if text]
    parts += [f"{grid.caption}:\n\n{markdown_table(grid.header, grid.rows)}" for grid in section.grids]
    parts += [f"![{section.title}](figures/{name})\n" for name in section.figures if name.endswith(".png")]
    if section.provenance:
        parts.append("".join(f"- `{name}`: {source}\n" for name, source in section.provenance.items()))
    return "\n".join(parts)


def statement_row(found: Finding) -> tuple[str, ...]:
    """Return a statement as a line of a table (STATEMENTS)."""
    favour = f"{found.in_favour} of {found.n}" if found.n else NONE
    return found.text, found.cells, found.effect or NONE, str(found.n), favour, found.outcome


def overview_markdown(report: Report) -> str:
    """Return the paper's exhibits, each with a link to its section and its outcome."""
    titles = {part.study: part.title for part in report.parts} | {s.key: s.title for s in report.sections}
    rows = []
    for line in overview(report):
        where = f"[{line.key}](#{_anchor(titles[line.key])})" if line.key else f"`{line.place}`"
        rows.append([line.exhibit, line.subject, where, line.outcome])
    return markdown_table(["paper", "subject", "here", "what came out"], rows)


def _anchor(title: str) -> str:
    """Return the id that Markdown's readers give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def not_run_markdown(cells: Sequence[NotRun]) -> str:
    """Return one table of the cells that were not run, with predicted costs and reasons."""
    return f"{total(cells)}.\n\n{markdown_table(NOT_RUN_COLUMNS, map(not_run_row, cells))}"


def not_run_row(cell: NotRun) -> tuple[str, ...]:
    """Return a cell that was not run as a line of a table (NOT_RUN_COLUMNS)."""
    flops = NONE if cell.flops is None else f"{cell.flops:.1e}"
    hours = NONE if cell.hours is None else hours_text(cell.hours)
    return cell.title, cell.label, flops, hours, cell.reason


def grid_markdown(table: StudyTable) -> str:
    """Return the grid: ours, and beside each column the paper's numbers under their own heading."""
    header = ["test / train"]
    for column in table.columns:
        header += [axis_label(column, table.columns)]
        header += [paper_name(table.results)] if table.with_paper else []
    rows = []
    for row in table.rows:
        line = [axis_label(row, table.rows)]
        for entry in table.line(row):
            line.append("<br>".join(entry_lines(entry, bold="**")))
            if table.with_paper:
                line.append(paper_numbers(entry))
        rows.append(line)
    return markdown_table(header, rows)


def details_markdown(table: StudyTable) -> str:
    """Return one line a cell and split: spread, floor, the error of the ends (collapsed nets show), the last marks."""
    header = (
        "cell", "split", "n", "mean", "median", "range", "sd", "floor", "line", "normalised %", "error of the ends",
        "verdict", "strict", "flags", "last marks",
    )  # fmt: skip
    rows = []
    for entry in table.entries:
        if entry.cell is not None:
            rows += [_details(entry, entry.cell, split) for split in ORDER]
    return f"<details><summary>Details: every cell and split</summary>\n\n{markdown_table(header, rows)}\n</details>\n"


def _details(entry: Entry, cell: CellRecord, split: SplitName) -> list[str]:
    s = cell.summary[split]
    return [
        entry.label, split, str(entry.n), points(s.mean), points(s.median), spread(s), points(s.sd),
        points(mean_floor(cell, split)), points(s.line_mean), points(s.normalised_mean),
        points(mean_error(cell, split)), s.verdict or NONE, s.verdict_strict or NONE,
        " ".join(letter(flag) for flag in s.flags) or NONE, late_marks(s) or NONE,
    ]  # fmt: skip


def agreement_markdown(tables: Sequence[StudyTable]) -> str:
    """Return the 2x2 tables of both splits and the distance of each cell to the paper's number."""
    by_split = {split: compared(tables, split) for split in ORDER}
    if not by_split["test"]:
        return "No cell has the paper's data set and epochs: nothing is counted.\n"
    parts = [two_by_two_markdown(by_split[split], split) for split in ORDER]
    parts.append("Distance |log10((ours + 0.1) / (paper + 0.1))| a cell; 0 is equal, 1 a factor of ten.\n")
    rows = []
    for found in by_split["test"]:
        distances = [entry_distance(found.entry, split) for split in ORDER]
        if distances[0] is not None:
            rows.append([found.entry.label, *(points(value) for value in distances)])
    parts.append(markdown_table(["cell", "test", "train"], rows))
    return "\n".join(parts)


def two_by_two_markdown(cells: Sequence[Compared], split: SplitName) -> str:
    """Return the counts of cells by the paper's verdict and ours, and the cells that are unequal ends."""
    rows = []
    for paper, ours in two_by_two(cells).items():
        rows.append([f"paper {paper}: {sum(ours.values())} cells", *(ours[outcome] for outcome in OUTCOMES)])
    table = markdown_table([f"judged on {split}", *OUTCOME_HEADINGS], rows)
    return f"{table}\n{said}\n" if (said := unequal_ends(cells)) else table


def provenance_markdown(studies: Sequence[StudyResults]) -> str:
    """Return where each hyper-parameter comes from, each entry once."""
    entries = dict.fromkeys((key, str(value), source) for study in studies for key, value, source in study.provenance)
    return markdown_table(["hyper-parameter", "value", "source"], ([f"`{key}`", *rest] for key, *rest in entries))


def legend_markdown() -> str:
    """Return what the letters of the flags mean."""
    return "".join(f"- {letter}: {meaning}\n" for letter, meaning in FLAGS.values())
