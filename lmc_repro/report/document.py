"""The report as one document, built once from the contents."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from itertools import product

from lmc_repro.common.words import counted
from lmc_repro.config.exhibit import Claim
from lmc_repro.report import agreement, grid
from lmc_repro.report.agreement import Finding, tally
from lmc_repro.report.contents import NotRun, Report, StudyPart, cells_judged, costs, overview, total
from lmc_repro.report.details import as_text, details
from lmc_repro.report.figures import paths_figure
from lmc_repro.report.grid import FLAGS, GLOSSARY, NO_VERDICT, NONE, NOT_RUN, ORDER, PAPER, StudyTable, points
from lmc_repro.report.model import Block, Cell, Curves, Figure, Items, Line, Paragraph, Section, Table
from lmc_repro.report.value_figure import ValuePlot, strip_figure, value_plot, values_figure
from lmc_repro.results.schema import NOT_CONVERGED, CellRecord, StudyResults

INTRODUCTION = (
    "Two networks are trained with different SGD noise, from the same initialisation where nothing else is said. On "
    "the straight line between their weights, does the error rise?"
)
PATHS = (
    "Error in percent along the straight line from one network (α 0) to the other (α 1) at the last epoch: "
    "a panel per cell, a line per pair; grey: a pair without a verdict. A flat line is a connected pair, a hill is a "
    "barrier. Panels share their axes but for shaded ones, which are zoomed: each has a scale of its own. Above each "
    "panel: mean barrier in points, test / train."
)
SOURCES = (
    "Each value and its source: the paper, its first author's later code, a paper that it builds on, worked out, or "
    "ours. It counts no agreement."
)
STRIP = (
    "A mark per cell: its mean test barrier (Eq. 1) in points, its verdict by colour and shape; the dotted line is the "
    "threshold. Cells without a verdict have no mark."
)


def report_document(report: Report) -> Section:
    """Return the whole report: result, studies, exhibits, agreement, provenance, what was not run.

    A report of one study is titled by it and begins with its figure; what its head says, its section does not repeat.
    """
    tables, several = report.tables, len(report.parts) + len(report.exhibits) > 1
    sections = [study_section(part, drawn=True, alone=not several) for part in report.parts]
    title = "Linear mode connectivity: results" if several or not sections else report.parts[0].title
    blocks: list[Block] = [Paragraph(INTRODUCTION), *result_blocks(report)]
    if several and tables:
        blocks.append(dataclasses.replace(strip_figure(report.parts), caption=STRIP))
    if not several:
        shown = [b for section in sections for b in section.blocks if isinstance(b, Figure) and not b.linked]
        blocks += shown
        sections = [dataclasses.replace(s, blocks=tuple(b for b in s.blocks if b not in shown)) for s in sections]
    if several:
        blocks.append(Section("Overview", (overview_table(report),), "overview"))
    blocks += [*sections, *(exhibit.section for exhibit in report.exhibits)]
    if report.of_paper and (ours := [table for table in tables if not table.results.analogue]):
        blocks.append(_agreement(ours))
    if any(table.results.sources for table in tables):
        blocks.append(provenance_section([table.results for table in tables]))
    if report.not_run:
        blocks.append(_not_run(report.not_run))
    used = {grid.letter(flag) for table in tables for flag in _flags(table)}
    of_the_paper = set() if report.of_paper else {PAPER, "statement", grid.letter(NOT_CONVERGED)} - used
    words = tuple((word, text) for word, text in GLOSSARY.items() if word not in of_the_paper)
    blocks.append(Section("How to read it", (Section("Words and flags", (Items(words),), folded=True),), "words"))
    return Section(title, tuple(blocks))


def result_blocks(report: Report) -> list[Block]:
    """Return the result in a sentence, whether it is an analogue's, and the facts of its data and machine."""
    results = [table.results for table in report.tables]
    if not results:
        return [Paragraph(f"{NOT_RUN.capitalize()}: there are no results.", "lead")]
    cells, judged = cells_judged(entry for table in report.tables for entry in table.entries)
    thresholds = grid.several(f"{found.threshold:g}" for found in results)
    said = f"{cells}: {judged}, by test error at a threshold of {thresholds} points."
    ran = [
        (mean, f"{table.results.title.split(':')[0]}, {entry.label}")
        for table in report.tables
        for entry in table.entries
        if (mean := entry.mean("test")) is not None
    ]
    if ran:
        mean, where = max(ran, key=lambda cell: cell[0])
        said += f" The highest mean barrier is {points(mean)} points ({where})."
    blocks: list[Block] = [Paragraph(said, "lead")]
    if report.of_paper and any(found.analogue for found in results):
        blocks.append(Paragraph(agreement.NOT_COUNTED, "note"))
    data = (f"{d.title}: {d.n_train} training, {d.n_test} test images" for r in results for d in r.datasets)
    seeds = {cell.n_trainer_seeds for r in results for cell in r.cells} or {0}
    machines = (f"{r.device}, numerics {r.numerics.partition(':')[0]}" for r in results)
    versions = (
        f"torch {r.torch}, training numerics {r.training_numerics}, evaluation numerics {r.evaluation_numerics}"
        for r in results
    )
    facts = (
        ("data", grid.several(data, "; ")),
        ("n", f"{'-'.join(map(str, sorted({min(seeds), max(seeds)})))} trainer seeds per cell"),
        ("machine", grid.several(machines, "; ")),
        ("version", grid.several(versions, "; ")),
    )
    return [*blocks, Items(facts)]


def overview_table(report: Report) -> Table:
    """Return every table, figure and appendix of the paper if it is in the report, its place here, and its outcome."""
    keys = {part.study: part.section_key for part in report.parts} | {e.key: e.section.key for e in report.exhibits}
    rows = []
    for line in overview(report):
        names = (line.exhibit, line.subject)[not report.of_paper :]
        place = Cell((names[0],), link=f"#{keys[line.key]}") if line.key else names[0]
        rows.append((place, *names[1:], line.outcome, line.place.rpartition("/")[2]))
    header, caption = ("paper", "subject", "outcome", "here"), "Studies and their outcomes"
    if report.of_paper:
        caption = "Every table, figure and appendix of the paper, and its outcome"
    return Table(caption, header[not report.of_paper :], tuple(rows), name="overview")


def study_section(
    part: StudyPart, drawn: bool = False, only: Collection[str] | None = None, alone: bool = False
) -> Section:
    """Return a study's section: figures and details if they are to be `drawn`, in its grid `only` these cells.

    `alone`: below a head that has the title and the result.
    """
    table, key, title = part.table, part.section_key, "Cells" if alone else part.title
    if table is None:
        return Section(title, (Paragraph(f"{NOT_RUN}: no results; `lmc run {part.study}` makes them."),), key)
    results = table.results
    cells, judged = cells_judged(table.entries)
    data = ", ".join(dataset.title for dataset in results.datasets) or "no data"
    shows = "" if alone else f"{cells} on {data}; on test: {judged} (threshold {results.threshold:g} points)."
    if part.of_paper and not (drawn and results.analogue):  # the head of a page says it once
        shows = f"{shows} {agreement.agrees(table)}".strip()
    blocks: list[Block] = [Paragraph(text) for text in (results.question, shows) if text]
    plot = value_plot(table) if drawn else None
    if plot:
        figure = values_figure(plot, results.title, part.study)
        blocks.append(dataclasses.replace(figure, caption=_values_show(plot)))
    shown = table.narrowed(lambda e: only is None or f"{e.row.key}--{e.column.key}" in only)
    blocks.append(grid_table(shown, key if drawn else ""))
    if drawn:
        blocks.append(dataclasses.replace(paths_figure(table), caption=PATHS, linked=bool(plot) or not alone))
    if meanings := tuple(meaning for flag, meaning in FLAGS.items() if flag in _flags(table)):
        blocks.append(Section("Flags", (Items(meanings),), media=("terminal",)))
    if claim := part.asked.claim:
        blocks += statement_blocks(claim, part.findings)
    blocks.append(Section("Settings and versions", (Items(grid.heading(results)),), folded=True))
    if drawn:
        blocks += details(table, key)
    return Section(title, tuple(blocks), key)


def _flags(table: StudyTable) -> set[str]:
    return {flag for e in table.entries if e.cell for summary in e.cell.summary.values() for flag in summary.flags}


def grid_table(table: StudyTable, links: str = "") -> Table:
    """Return the grid: ours, and beside each column the paper's numbers under their own heading.

    `links`: the section whose cells a number leads to.
    """
    paper = [grid.paper_name(table.results)] if table.with_paper else []
    header = ["test / train"]
    for column in table.columns:
        header += [grid.axis_label(column, table.columns), *paper]
    curves = {cell.key: _paths(table, cell) for cell in table.results.cells}
    top = max((error for lines in curves.values() for _, line in lines for _, error in line), default=0.0)
    rows = []
    for row in table.rows:
        line: list[str | Cell] = [grid.axis_label(row, table.rows)]
        for entry in table.line(row):
            apart = any(entry.verdict(split) == "disconnected" for split in ORDER)
            link = f"#{links}-{entry.cell.key}" if entry.cell and links else ""
            kind = ("disconnected" if apart else entry.outcome).replace(" ", "-")
            drawn = Curves(curves[entry.cell.key], top) if entry.cell else None
            line.append(Cell(grid.entry_lines(entry), strong=apart, link=link, kind=kind, curves=drawn))
            if table.with_paper:
                line.append(grid.paper_numbers(entry.paper))
        rows.append(tuple(line))
    caption = "Mean barrier in points, test / train; verdict; line barrier L, n, flags"
    theirs = frozenset(range(2, len(header), 2)) if table.with_paper else frozenset()
    return Table(caption, tuple(header), tuple(rows), theirs, places=True, name=table.results.study)


def _paths(table: StudyTable, cell: CellRecord) -> tuple[Line, ...]:
    """Return a cell's errors along its pairs' paths, test above train; a pair without a verdict has another kind."""
    lines = []
    for split, pair in product(reversed(ORDER), cell.pairs):
        curve = table.results.curves[cell.key, pair.pair, pair.epoch, split]
        points = zip(curve.alphas, (100.0 * error for error in curve.errors), strict=True)
        lines.append((split if pair.barriers[split] else "untrained", tuple(points)))
    return tuple(lines)


def _values_show(plot: ValuePlot) -> str:
    """Return the data of the plot that a study requests, and the range of its means."""
    share = "Barrier as a share of the test accuracy (Eq. 2, percent)"
    what = "Barrier in points" if plot.value == "barrier" else share
    over, range_ = ("over training", "band") if plot.over_training else (f"by {plot.x_label}", "bar")
    dotted = "" if plot.threshold is None else f"; dotted: the threshold, {plot.threshold:g} points"
    seeds = f"means over trainer seeds, a {range_} from the smallest to the largest, a dot per seed"
    shows = f"{what} {over}: {seeds}{dotted}."
    if plot.over_training:
        return f"{shows} Where an end is not trained yet there is no barrier, and no mark."
    means = [p.mean for line in plot.series if line.split == "test" for p in line.points if p.seeds]
    return f"{shows} The means on test lie between {points(min(means))} and {points(max(means))}." if means else shows


def statement_blocks(claim: Claim, found: Sequence[Finding]) -> list[Block]:
    """Return the paper's claim, how its statements come out, and a row per statement."""
    if not found:
        return [Paragraph(f"The paper: {claim.text}.")]
    header = ("statement", "cells", "effect", "n", "seeds in favour", "outcome")
    rows = tuple(
        (f.text, f.cells, f.effect or NONE, str(f.n), f"{f.in_favour} of {f.n}" if f.n else NONE, f.outcome)
        for f in found
    )
    table = Table("Statements", header, rows, name=f"{found[0].study}-statements")
    tallies = ((text, tally(f for f in found if f.text == text)) for text in dict.fromkeys(f.text for f in found))
    folded = Section("Statements by cell", (table,), folded=True)
    return [Paragraph(f"The paper: {claim.text}."), Items(tuple(tallies)), folded]


def _agreement(tables: Sequence[StudyTable]) -> Section:
    by_split = {split: agreement.compared(tables, split) for split in ORDER}
    if not by_split["test"]:
        return Section("Agreement with the paper", (Paragraph(agreement.NOTHING_COUNTED),), "agreement")
    distances = [
        (e.label, *(points(agreement.log_distance(e.mean(split), (e.paper or {})[split])) for split in ORDER))
        for e in (found.entry for found in by_split["test"])
        if e.mean("test") is not None
    ]
    blocks = (
        Paragraph(
            "Cells on the paper's data set at its length, each set of runs counted once: how the paper's number "
            "and ours are judged by Eq. 1 and the same threshold. No single share is made of it, since always "
            "saying connected would score high."
        ),
        *(block for split, cells in by_split.items() for block in two_by_two_blocks(cells, split)),
        Paragraph(
            "The distance |log10((ours + 0.1) / (paper + 0.1))| of each cell to the paper's number: 0 is equal, 1 "
            "a factor of ten. It is no agreement or disagreement."
        ),
        Table("Distance to the paper's number", ("cell", *ORDER), tuple(distances), name="agreement-distances"),
    )
    return Section("Agreement with the paper", blocks, "agreement")


def two_by_two_blocks(cells: Sequence[agreement.Compared], split: str) -> list[Block]:
    """Return the counts of cells by the paper's verdict and ours, and the cells that are unequal ends."""
    rows = tuple(
        (f"paper {paper}: {counted(sum(ours.values()), 'cell')}", *map(str, ours.values()))
        for paper, ours in agreement.two_by_two(cells).items()
    )
    header = ("cells", *(f"ours {verdict}" for verdict in agreement.VERDICTS), NO_VERDICT, NOT_RUN)
    ends = agreement.unequal_ends(cells)
    return [Table(f"Judged on {split}", header, rows, name=f"agreement-{split}"), *([Paragraph(ends)] if ends else [])]


def provenance_section(studies: Sequence[StudyResults]) -> Section:
    """Return where each hyper-parameter comes from, each entry once."""
    rows = {(f"`{key}`", as_text(value), source): None for study in studies for key, value, source in study.sources}
    header = ("hyper-parameter", "value", "source")
    table = Table("Hyper-parameters and their sources", header, tuple(rows), name="sources")
    folded = Section(f"{len(rows)} values", (table,), folded=True)
    return Section("Sources of the hyper-parameters", (Paragraph(SOURCES), folded), "provenance")


def _not_run(cells: Sequence[NotRun]) -> Section:
    rows = tuple((cell.title, cell.label, *costs(cell.flops, cell.hours), cell.reason) for cell in cells)
    header = ("study", "cell", "FLOPs", "hours of one core", "why")
    shows = Paragraph(f"{total(cells)}. Predicted, not measured; runs that cells share are counted in each.")
    table = Table("Cells that were not run", header, rows, name="not-run")
    return Section("Not run", (shows, Section(f"{len(rows)} lines", (table,), folded=True)), "not-run")
