"""The report as one document, built once from the contents."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lmc_repro.config.base import mark_text
from lmc_repro.config.exhibit import Claim
from lmc_repro.config.own_code import short_name
from lmc_repro.models.registry import network
from lmc_repro.report import agreement, grid
from lmc_repro.report.agreement import Finding, tally
from lmc_repro.report.contents import NotRun, Report, StudyPart, cells_judged, costs, overview, total
from lmc_repro.report.figures import paths_figure, values_figure
from lmc_repro.report.grid import (
    FLAGS,
    GLOSSARY,
    NO_VERDICT,
    NONE,
    NOT_RUN,
    ORDER,
    Entry,
    StudyTable,
    pair_kind,
    points,
)
from lmc_repro.report.model import PAGE, WRITTEN, Block, Cell, Items, Paragraph, Section, Table
from lmc_repro.report.values import ValuePlot, value_plot
from lmc_repro.results.schema import CellRecord, PairRecord, StudyResults
from lmc_repro.tracking.names import CELL, EXPERIMENT_PREFIX

MLFLOW = "http://127.0.0.1:5000"
"""The default address of `mlflow ui`."""

INTRODUCTION = (
    "Two networks are trained from the same initialisation with different SGD noise. On the straight line between "
    "their weights, does the error rise? Each cell below trains such pairs and measures errors at evenly spaced points "
    "of the line."
)
PATHS = (
    "Error in percent along the straight line from one network (alpha 0) to the other (alpha 1) at the last epoch: "
    "a panel per cell, a line per pair, all on the same axes; grey: a pair without a verdict. A flat line is a "
    "connected pair, a hill is a barrier. Above each panel: mean barrier, test / train."
)
DETAILS = (
    "Everything behind a cell's number: the values of its trainer seeds, its pairs and their endpoints, the last "
    "evaluation epochs, its path and its configuration. Its runs are in MLflow under the filter that it names (the "
    "link works while `mlflow ui` runs on this machine)."
)

SUMMARY = (
    "cell", "split", "n", "values", "mean", "median", "range", "sd", "floor", "line", "normalised %",
    "error of the ends", "verdict", "strict", "flags", "last epochs",
)  # fmt: skip
PAIR = (
    "pair", "split", "barrier", "floor", "line", "middle", "alpha of the maximum", "normalised %", "errors of the ends",
    "loss barrier",
)  # fmt: skip
LATE = ("epoch", "test mean", "test line", "test verdict", "train mean", "train line", "train verdict")


def report_document(report: Report) -> Section:
    """Return the whole report: overview, studies, exhibits, agreement, provenance, what was not run."""
    blocks: list[Block] = [
        Paragraph(INTRODUCTION),
        overview_table(report),
        Section("How to read it", (Items(tuple(GLOSSARY.items())),), folded=True),
        *(study_section(part, drawn=True) for part in report.parts),
        *(exhibit.section for exhibit in report.exhibits),
    ]
    if ours := [table for table in report.tables if not table.results.analogue]:
        blocks.append(_agreement(ours))
    if report.tables:
        blocks.append(provenance_section([table.results for table in report.tables]))
    if report.not_run:
        blocks.append(_not_run(report.not_run))
    return Section("Linear mode connectivity: results", tuple(blocks))


def overview_table(report: Report) -> Table:
    """Return every table, figure and appendix of the paper, its place here, and its outcome."""
    keys = {part.study: part.section_key for part in report.parts} | {e.key: e.section.key for e in report.exhibits}
    rows = []
    for line in overview(report):
        place = Cell((line.key,), link=f"#{keys[line.key]}") if line.key else line.place
        rows.append((line.exhibit, line.subject, place, line.outcome))
    caption = "Every table, figure and appendix of the paper: where it is, and what came out"
    return Table(caption, ("paper", "subject", "here", "what came out"), tuple(rows))


def study_section(part: StudyPart, drawn: bool = False, only: Collection[str] | None = None) -> Section:
    """Return a study's section, with its figures if they are to be `drawn`, and in its grid `only` these cells."""
    table, key = part.table, part.section_key
    if table is None:
        return Section(part.title, (Paragraph(f"{NOT_RUN}: no results; `lmc run {part.study}` makes them."),), key)
    results = table.results
    blocks: list[Block] = [Paragraph(results.question)]
    if results.analogue:
        names = ", ".join(dataset.name for dataset in results.datasets)
        note = f"An analogue on other data ({names}), not a reproduction: no agreement with the paper is counted."
        blocks.append(Paragraph(note, note=True))
    cells, judged = cells_judged(table)
    data = ", ".join(dataset.title for dataset in results.datasets) or "no data"
    shows = f"{cells} on {data}; on test: {judged} (threshold {results.threshold:g} points). {agreement.agrees(table)}"
    blocks += [
        Section("Settings and versions", (Items(grid.heading(results)),), folded=True),
        Section("Barriers", (Paragraph(shows), grid_table(table if only is None else table.narrowed(only), key))),
    ]
    used = {flag for e in table.entries if e.cell for s in e.cell.summary.values() for flag in s.flags}
    if meanings := tuple(meaning for flag, meaning in FLAGS.items() if flag in used):
        blocks.append(Section("Flags", (Items(meanings),), media=("terminal",)))
    if claim := part.asked.claim:
        blocks.append(Section("Statements", tuple(statement_blocks(claim, part.findings))))
    if not drawn:
        return Section(results.title, tuple(blocks), key)
    if plot := value_plot(table):
        title = "Over training" if plot.over_training else f"Along the {plot.x_label}"
        figure = values_figure(plot, results.title, part.study)
        blocks.append(Section(title, (Paragraph(_values_show(plot)), figure), media=WRITTEN))
    paths, ran = PATHS, [entry for entry in table.entries if entry.mean("test") is not None]
    if ran:
        highest = max(ran, key=lambda entry: entry.mean("test") or 0.0)
        paths += f" The highest mean test barrier is {points(highest.mean('test'))} points ({highest.label})."
    blocks += [
        Section("Paths", (Paragraph(paths), paths_figure(table)), media=WRITTEN),
        Section("Details: every cell and split", (summary_table(table),), folded=True, media=("markdown",)),
        _details(table, key),
    ]
    return Section(results.title, tuple(blocks), key)


def grid_table(table: StudyTable, links: str = "") -> Table:
    """Return the grid: ours, and beside each column the paper's numbers under their own heading.

    `links`: the section whose cells a number leads to.
    """
    paper = [grid.paper_name(table.results)] if table.with_paper else []
    header = ["test / train"]
    for column in table.columns:
        header += [grid.axis_label(column, table.columns), *paper]
    rows = []
    for row in table.rows:
        line: list[str | Cell] = [grid.axis_label(row, table.rows)]
        for entry in table.line(row):
            apart = any(entry.verdict(split) == "disconnected" for split in ORDER)
            link = f"#{links}-{entry.cell.key}" if entry.cell and links else ""
            line.append(Cell(grid.entry_lines(entry), strong=apart, link=link))
            if table.with_paper:
                line.append(grid.paper_numbers(entry.paper))
        rows.append(tuple(line))
    caption = "Mean barrier in points, test / train; below it line barrier, range over trainer seeds, verdict, n, flags"
    theirs = frozenset(range(2, len(header), 2)) if table.with_paper else frozenset()
    return Table(caption, tuple(header), tuple(rows), theirs, places=True)


def summary_table(table: StudyTable, entries: Iterable[Entry] | None = None, compare: bool = False) -> Table:
    """Return a row per cell and split: all that one number says about it.

    `compare`: beside it the paper's number, its verdict and the network of each cell.
    """
    rows = []
    for entry in table.entries if entries is None else entries:
        if (cell := entry.cell) is None:
            continue
        for split in ORDER:
            s = cell.summary[split]
            floors = [found.floor for pair in cell.pairs if (found := pair.barriers[split]) is not None]
            row = (
                entry.label, split, str(entry.n), ", ".join(map(points, s.values)) or NONE, points(s.mean),
                points(s.median), grid.spread(s), points(s.sd), points(statistics.fmean(floors) if floors else None),
                points(s.line_mean), points(s.normalised_mean),
                points(statistics.fmean(error for pair in cell.pairs for error in pair.errors[split])),
                s.verdict or NO_VERDICT, s.verdict_strict or NONE, " ".join(map(grid.letter, s.flags)) or NONE,
                grid.late_marks(s) or NONE,
            )  # fmt: skip
            theirs = points(entry.paper[split] if entry.paper else None)
            judged = entry.paper_verdict(split, table.results.threshold) or NONE
            made = f"{network(cell.config['model'])}, {grid.init(cell)}"
            rows.append((*row, theirs, judged, made) if compare else row)
    if compare:
        header = (*SUMMARY, "paper", "paper's verdict", "network")
        return Table("Ours, and the paper's numbers in their own columns (points)", header, tuple(rows))
    return Table("Barrier over trainer seeds (points)", SUMMARY, tuple(rows))


def _details(table: StudyTable, key: str) -> Section:
    experiment = f"{EXPERIMENT_PREFIX}{table.results.study}/{table.results.profile}"
    link = f"{MLFLOW}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}"
    places = (
        ("experiment", Cell((experiment,), link=link)),
        ("a single run", Cell(("tags.`lmc.fingerprint` = '...'",), code=True)),
    )
    cells = [_cell_section(e, e.cell, table, f"{key}-{e.cell.key}") for e in table.entries if e.cell is not None]
    return Section("Details of each cell", (Paragraph(DETAILS), Items(places), *cells), media=PAGE)


def _cell_section(entry: Entry, cell: CellRecord, table: StudyTable, key: str) -> Section:
    """Return a cell's details: barriers and errors in points, normalised barriers in percent, losses in nats."""
    rest = "".join(f"{line}; " for line in grid.entry_lines(entry)[1:])
    paper = f" {grid.paper_name(table.results)}: {grid.paper_numbers(entry.paper)}." if entry.paper else ""
    ends = [
        (pair.pair, str(pair.trainer_seed), _end(i, pair), pair.status[i], pair.fingerprints[i])
        for pair in cell.pairs
        for i in (0, 1)
    ]
    late = [
        (mark_text(marks[0].epoch), *(text for one in marks for text in (points(one.mean), points(one.line_mean),
         one.verdict or NO_VERDICT)))
        for marks in zip(*(cell.summary[split].late for split in ORDER), strict=True)
    ]  # fmt: skip
    curves = {
        f"pair {pair.pair}, {split}": table.results.curves[cell.key, pair.pair, pair.epoch, split]
        for pair in cell.pairs
        for split in ORDER
    }
    alphas = next((curve.alphas for curve in curves.values()), ())
    path = [(name, *(points(100 * error) for error in curve.errors)) for name, curve in curves.items()]
    config = (
        ("cell", cell.key),
        ("parameters", str(cell.parameters)),
        ("pairs", pair_kind(cell)),
        ("trainer seeds", str(cell.n_trainer_seeds)),
        ("runs", str(cell.n_runs)),
        *_flat(cell.config),
    )
    blocks = (
        Paragraph(f"{rest}{agreement.cell_agrees(entry, table)}{paper}"),
        Items((("in MLflow", Cell((f"tags.`{CELL}` = '{cell.key}'",), code=True)),)),
        summary_table(table, [entry]),
        Table("Pairs at the last epoch (points; loss in nats)", PAIR, tuple(_pairs(cell))),
        Table("Endpoints", ("pair", "trainer seed", "end", "status", "fingerprint"), tuple(ends)),
        Table("The last evaluation epochs", LATE, tuple(late)),
        Table("Error along the path (%)", ("alpha", *(f"{alpha:g}" for alpha in alphas)), tuple(path)),
        Section("Configuration", (Items(config),)),
    )
    return Section(f"{entry.label}: {grid.said(entry)}", blocks, key, folded=True, media=PAGE)


def _pairs(cell: CellRecord) -> Iterator[tuple[str, ...]]:
    for pair in cell.pairs:
        for split in ORDER:
            found, ends = pair.barriers[split], " / ".join(map(points, pair.errors[split]))
            if found is None:
                yield (pair.pair, split, *[NONE] * 6, ends, NONE)
                continue
            yield (
                pair.pair, split, *map(points, (found.barrier, found.floor, found.line, found.midpoint_excess)),
                f"{found.argmax_alpha:g}", points(found.normalised), ends,
                NONE if found.loss_barrier is None else f"{found.loss_barrier:.4f}",
            )  # fmt: skip


def _end(i: int, pair: PairRecord) -> str:
    own = pair.epochs[i]
    return f"alpha {i}" if own is None else f"alpha {i}, epoch {mark_text(own)}"


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _as_text(value)


def _as_text(value: Any) -> str:
    return short_name(value if isinstance(value, str) else json.dumps(value))


def _values_show(plot: ValuePlot) -> str:
    """Return the data of the plot that a study requests, and the range of its means."""
    what = (
        "Barrier in points" if plot.value == "barrier" else "Barrier as a share of the test accuracy (Eq. 2, percent)"
    )
    over, range_ = ("over training", "band") if plot.over_training else (f"by {plot.x_label}", "bar")
    dotted = "" if plot.threshold is None else f"; the dotted line is the threshold, {plot.threshold:g} points"
    shows = (
        f"{what} {over}, test above train: a line of means over trainer seeds, a light {range_} from the smallest to "
        f"the largest, a dot per seed{dotted}."
    )
    if plot.over_training:
        return f"{shows} Where an end is not trained yet there is no barrier, and no mark."
    means = [p.mean for line in plot.series if line.split == "test" for p in line.points if p.seeds]
    return f"{shows} The means on test lie between {points(min(means))} and {points(max(means))}." if means else shows


def statement_blocks(claim: Claim, found: Sequence[Finding]) -> list[Block]:
    """Return the paper's claim, how its statements come out, and a row per statement."""
    if not found:
        return [Paragraph(f"The paper: {claim.text}.")]
    here = "" if any(finding.counted for finding in found) else " An analogue or another length counts no agreement."
    rows = tuple(
        (f.text, f.cells, f.effect or NONE, str(f.n), f"{f.in_favour} of {f.n}" if f.n else NONE, f.outcome)
        for f in found
    )
    return [
        Paragraph(f"The paper: {claim.text}. As ordered statements: {tally(found)}.{here}"),
        Table("Statements", ("statement", "cells", "effect", "n", "seeds in favour", "outcome"), rows),
    ]


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
        Table("Distance to the paper's number", ("cell", *ORDER), tuple(distances)),
    )
    return Section("Agreement with the paper", blocks, "agreement")


def two_by_two_blocks(cells: Sequence[agreement.Compared], split: str) -> list[Block]:
    """Return the counts of cells by the paper's verdict and ours, and the cells that are unequal ends."""
    rows = tuple(
        (f"paper {paper}: {grid.cells_text(sum(ours.values()))}", *map(str, ours.values()))
        for paper, ours in agreement.two_by_two(cells).items()
    )
    header = ("cells", *(f"ours {verdict}" for verdict in agreement.VERDICTS), NO_VERDICT, NOT_RUN)
    ends = agreement.unequal_ends(cells)
    return [Table(f"Judged on {split}", header, rows), *([Paragraph(ends)] if ends else [])]


def provenance_section(studies: Sequence[StudyResults]) -> Section:
    """Return where each hyper-parameter comes from, each entry once."""
    rows = {(f"`{key}`", _as_text(value), source): None for study in studies for key, value, source in study.provenance}
    table = Table("Hyper-parameters and their sources", ("hyper-parameter", "value", "source"), tuple(rows))
    shows = Paragraph(
        "Each value and its source: the paper, its first author's later code, a paper that it builds on, worked out, "
        "or ours. It counts no agreement."
    )
    return Section(
        "Sources of the hyper-parameters", (shows, Section(f"{len(rows)} values", (table,), folded=True)), "provenance"
    )


def _not_run(cells: Sequence[NotRun]) -> Section:
    rows = tuple((cell.title, cell.label, *costs(cell.flops, cell.hours), cell.reason) for cell in cells)
    header = ("study", "cell", "FLOPs", "hours of one core", "why")
    shows = Paragraph(f"{total(cells)}. Predicted, not measured; runs that cells share are counted in each.")
    folded = Section(f"{len(rows)} lines", (Table("Cells that were not run", header, rows),), folded=True)
    return Section("Not run", (shows, folded), "not-run")
