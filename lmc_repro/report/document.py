"""The report as one document, built once from what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from lmc_repro.config.exhibit import Claim
from lmc_repro.report.agreement import (
    NOTHING_COUNTED,
    OUTCOME_HEADINGS,
    Compared,
    agrees,
    compared,
    entry_distance,
    two_by_two,
    unequal_ends,
)
from lmc_repro.report.cells import as_text, cell_section, grid_table, summary_table
from lmc_repro.report.contents import Report, StudyPart
from lmc_repro.report.figures import paths_figure, values_figure
from lmc_repro.report.model import PAGE, WRITTEN, Block, Cell, Items, Paragraph, Section, Table
from lmc_repro.report.overview import JUDGED, overview
from lmc_repro.report.planned import NotRun, costs, total
from lmc_repro.report.statements import Finding, tally
from lmc_repro.report.table import StudyTable
from lmc_repro.report.values import ValuePlot
from lmc_repro.report.words import (
    FLAGS,
    GLOSSARY,
    LEFT_OUT,
    NONE,
    NOT_RUN,
    ORDER,
    analogue_note,
    cells_text,
    heading,
    outcome,
    points,
)
from lmc_repro.results.schema import StudyResults
from lmc_repro.tracking.names import EXPERIMENT_PREFIX

MLFLOW = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers if nothing else is asked for."""

TITLE = "Linear mode connectivity: results"
INTRODUCTION = (
    "Two networks are trained from the same initialisation with different SGD noise. On the straight line between "
    "their weights, does the error rise? Each cell below trains such pairs and measures errors at evenly spaced points "
    "of the line."
)


def report_document(report: Report) -> Section:
    """Return the whole report: overview, studies, exhibits, agreement, provenance, what was not run."""
    blocks: list[Block] = [
        Paragraph(INTRODUCTION),
        overview_table(report),
        Section("How to read it", (Items(GLOSSARY),), folded=True),
        *(study_section(part, drawn=True) for part in report.parts),
        *(exhibit.section for exhibit in report.exhibits),
    ]
    if ours := [table for table in report.tables if not table.results.analogue]:
        blocks.append(_agreement(ours))
    if tables := report.tables:
        blocks.append(provenance_section([table.results for table in tables]))
    if report.not_run:
        blocks.append(_not_run(report.not_run))
    return Section(TITLE, tuple(blocks))


def overview_table(report: Report) -> Table:
    """Return every table, figure and appendix of the paper, where it stands here, and what came out."""
    keys = {part.study: part.section_key for part in report.parts} | {e.key: e.section.key for e in report.exhibits}
    rows = [
        (line.exhibit, line.subject, Cell((line.key,), link=f"#{keys[line.key]}") if line.key else line.place,
         line.outcome)
        for line in overview(report)
    ]  # fmt: skip
    caption = "Every table, figure and appendix of the paper: where it is, and what came out"
    return Table(caption, ("paper", "subject", "here", "what came out"), tuple(rows))


def study_section(part: StudyPart, drawn: bool = False) -> Section:
    """Return a study's section, with its figures if they are to be `drawn`."""
    table, key = part.table, part.section_key
    if table is None:
        return Section(part.title, (Paragraph(f"{NOT_RUN}: no results; `lmc run {part.study}` makes them."),), key)
    results = table.results
    blocks: list[Block] = [Paragraph(results.question)]
    if note := analogue_note(results):
        blocks.append(Paragraph(note, note=True))
    blocks += [
        Section("Settings and versions", (Items(tuple(heading(results))),), folded=True),
        Section("Barriers", (Paragraph(f"{table_shows(table)} {agrees(table)}"), grid_table(table, key))),
    ]
    if used := _flags(table):
        blocks.append(Section("Flags", (Items(used),), media=("terminal",)))
    if part.claim:
        shown = (Paragraph(statements_show(part.claim, part.findings)),)
        blocks.append(Section("Statements", (*shown, *([statements_table(part.findings)] if part.findings else []))))
    if drawn and part.plot:
        title = "Over training" if part.plot.over_training else f"Along the {part.plot.x_label}"
        figure = values_figure(part.plot, results.title, part.study)
        blocks.append(Section(title, (Paragraph(values_show(part.plot)), figure), media=WRITTEN))
    if drawn:
        blocks.append(Section("Paths", (Paragraph(paths_show(table)), paths_figure(table)), media=WRITTEN))
        folded = Section("Details: every cell and split", (summary_table(table),), folded=True, media=("markdown",))
        blocks += [folded, _details(table, part.study, key)]
    return Section(results.title, tuple(blocks), key)


def _details(table: StudyTable, study: str, key: str) -> Section:
    experiment = f"{EXPERIMENT_PREFIX}{study}/{table.results.profile}"
    link = f"{MLFLOW}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}"
    said = (
        "Everything behind a cell's number: the values of its trainer seeds, its pairs and their endpoints, the last "
        "evaluation epochs, its path and its configuration. Its runs are in MLflow under the filter that it names (the "
        "link works while `mlflow ui` runs on this machine)."
    )
    places = (
        ("experiment", Cell((experiment,), link=link)),
        ("a single run", Cell(("tags.`lmc.fingerprint` = '...'",), code=True)),
    )
    cells = [cell_section(e, e.cell, table, f"{key}-{e.cell.key}") for e in table.entries if e.cell is not None]
    return Section("Details of each cell", (Paragraph(said), Items(places), *cells), media=PAGE)


def _flags(table: StudyTable) -> tuple[tuple[str, str], ...]:
    used = {flag for e in table.entries if e.cell for s in e.cell.summary.values() for flag in s.flags}
    return tuple(meaning for flag, meaning in FLAGS.items() if flag in used)


def table_shows(table: StudyTable) -> str:
    """Return what a study's grid holds: how many of its cells, and how they are judged on test."""
    counts = Counter(outcome(entry) for entry in table.entries)
    left = counts.pop(LEFT_OUT, 0)
    judged = ", ".join(f"{counts[name]} {name}" for name in JUDGED if counts[name])
    out = f" ({left} {LEFT_OUT})" if left else ""
    data = ", ".join(d.title for d in table.results.datasets) or "no data"
    threshold = f"threshold {table.results.threshold:g} points"
    return f"{cells_text(sum(counts.values()))} on {data}; on test: {judged}{out} ({threshold})."


def paths_show(table: StudyTable) -> str:
    """Return what a study's curves are, and where the highest of its mean barriers stands."""
    shows = (
        "Error in percent along the straight line from one network (alpha 0) to the other (alpha 1) at the last epoch: "
        "a panel per cell, a line per pair, all on the same axes; grey: a pair without a verdict. A flat line is a "
        "connected pair, a hill is a barrier. Above each panel: mean barrier, test / train."
    )
    means = [(found, e) for e in table.entries if e.cell and (found := e.cell.summary["test"].mean) is not None]
    if not means:
        return shows
    highest, where = max(means, key=lambda found: found[0])
    return f"{shows} The highest mean test barrier is {points(highest)} points ({where.label})."


def values_show(plot: ValuePlot) -> str:
    """Return what the plot that a study asks for is made of, and between which values its means lie."""
    normalised = "Barrier as a share of the test accuracy (Eq. 2, percent)"
    what = "Barrier in points" if plot.value == "barrier" else normalised
    over = "over training" if plot.over_training else f"by {plot.x_label}"
    spread = "band" if plot.over_training else "bar"
    said = (
        f"{what} {over}, test above train: a line of means over trainer seeds, a light {spread} from the smallest to "
        "the largest, a dot per seed"
    )
    said += f"; the dotted line is the threshold, {plot.threshold:g} points." if plot.threshold is not None else "."
    if plot.over_training:
        return f"{said} Where an end is not trained yet there is no barrier, and no mark."
    means = [p.mean for panel in plot.panels["test"] for line in panel.series for p in line.points if p.seeds]
    return f"{said} The means on test lie between {points(min(means))} and {points(max(means))}." if means else said


def statements_show(claim: Claim, found: Sequence[Finding]) -> str:
    """Return the paper's claim, and how its statements come out."""
    said = f"The paper: {claim.text}."
    if not found:
        return said
    here = "" if any(finding.counted for finding in found) else " An analogue or another length counts no agreement."
    return f"{said} As ordered statements: {tally(found)}.{here}"


def statements_table(found: Sequence[Finding]) -> Table:
    """Return a row per statement: its cells, effect, n, seeds in favour and outcome."""
    rows = [
        (one.text, one.cells, one.effect or NONE, str(one.n), f"{one.in_favour} of {one.n}" if one.n else NONE,
         one.outcome)
        for one in found
    ]  # fmt: skip
    return Table("Statements", ("statement", "cells", "effect", "n", "seeds in favour", "outcome"), tuple(rows))


def _agreement(tables: Sequence[StudyTable]) -> Section:
    by_split = {split: compared(tables, split) for split in ORDER}
    if not by_split["test"]:
        return Section("Agreement with the paper", (Paragraph(NOTHING_COUNTED),), "agreement")
    rows = []
    for found in by_split["test"]:
        distances = [entry_distance(found.entry, split) for split in ORDER]
        if distances[0] is not None:
            rows.append((found.entry.label, *map(points, distances)))
    return Section(
        "Agreement with the paper",
        (
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
            Table("Distance to the paper's number", ("cell", *ORDER), tuple(rows)),
        ),
        "agreement",
    )


def two_by_two_blocks(cells: Sequence[Compared], split: str) -> list[Block]:
    """Return the counts of cells by the paper's verdict and ours, and the cells that are unequal ends."""
    rows = [
        (f"paper {paper}: {cells_text(sum(ours.values()))}", *map(str, ours.values()))
        for paper, ours in two_by_two(cells).items()
    ]
    table = Table(f"Judged on {split}", ("cells", *OUTCOME_HEADINGS), tuple(rows))
    return [table, Paragraph(said)] if (said := unequal_ends(cells)) else [table]


def provenance_section(studies: Sequence[StudyResults]) -> Section:
    """Return where each hyper-parameter comes from, each entry once."""
    rows = dict.fromkeys(
        (f"`{key}`", as_text(value), source) for study in studies for key, value, source in study.provenance
    )
    table = Table("Hyper-parameters and their sources", ("hyper-parameter", "value", "source"), tuple(rows))
    said = (
        "Each value and its source: the paper, its first author's later code, a paper that it builds on, worked out, "
        "or ours. It counts no agreement."
    )
    folded = Section(f"{len(rows)} values", (table,), folded=True)
    return Section("Sources of the hyper-parameters", (Paragraph(said), folded), "provenance")


def _not_run(cells: Sequence[NotRun]) -> Section:
    rows = tuple((cell.title, cell.label, *costs(cell.flops, cell.hours), cell.reason) for cell in cells)
    header = ("study", "cell", "FLOPs", "hours of one core", "why")
    said = Paragraph(f"{total(cells)}. Predicted, not measured; runs that cells share are counted in each.")
    folded = Section(f"{len(rows)} lines", (Table("Cells that were not run", header, rows),), folded=True)
    return Section("Not run", (said, folded), "not-run")
