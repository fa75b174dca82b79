"""report/index.html: the report as one file that needs nothing else, for a browser, a phone and a printer."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lmc_repro.report import charts, panels
from lmc_repro.report.agreement import OUTCOME_HEADINGS, compared, entry_distance, two_by_two, unequal_ends
from lmc_repro.report.contents import Report, Section, StudyPart
from lmc_repro.report.details import CellDetails, cell_details, values
from lmc_repro.report.figures import panel_axes
from lmc_repro.report.markdown import NOT_RUN_COLUMNS, STATEMENTS, not_run_row, statement_row
from lmc_repro.report.overview import overview
from lmc_repro.report.planned import total
from lmc_repro.report.sentences import (
    NOT_COUNTED,
    ORDER,
    agrees,
    cell_agrees,
    figure_shows,
    outcome,
    statements_show,
    table_shows,
    values_show,
)
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.templates import template
from lmc_repro.report.words import (
    FLAGS,
    NONE,
    NOT_RUN,
    PAPER,
    analogue_note,
    axis_label,
    entry_lines,
    heading,
    means,
    paper_name,
    paper_numbers,
    points,
)
from lmc_repro.tracking.names import CELL, EXPERIMENT_PREFIX

MLFLOW = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers if nothing else is asked for."""


@dataclass(frozen=True)
class Panel:
    """The drawing of an entry: what is said above it and to a screen reader, and its lines."""

    label: str
    note: str
    said: str
    lines: list[panels.Line]


@dataclass(frozen=True)
class Place:
    """An entry of the grid as the page shows it.

    `anchor` names its details, None where it was not run; `marked` is `apart` where either split is disconnected;
    `drawn`: its panel stands among the paths, else in its details.
    """

    entry: Entry
    anchor: str | None
    bold: str
    rest: list[str]
    marked: str
    paper: str
    panel: Panel
    drawn: bool
    details: CellDetails | None
    agrees: str
    filter: str


def html_page(report: Report) -> str:
    """Return index.html: no script, no request, all that is said escaped; equal results give equal text."""
    ids = {part.study: f"study-{i}" for i, part in enumerate(report.parts, start=1)}
    ids |= {section.key: f"exhibit-{i}" for i, section in enumerate(report.sections, start=1)}
    entries = (
        (key, values(value), source) for table in report.tables for key, value, source in table.results.provenance
    )
    return template("page.html.j2").render(
        overview=[(line, ids.get(line.key or "")) for line in overview(report)],
        studies=[_study(ids[part.study], part) for part in report.parts],
        pictures=any(section.figures for section in report.sections),
        sections=[(ids[section.key], section, _pictures(section)) for section in report.sections],
        agreement=_agreement(report.tables),
        provenance=list(dict.fromkeys(entries)),
        not_run_columns=NOT_RUN_COLUMNS,
        not_run_rows=list(map(not_run_row, report.not_run)),
        not_run_total=total(report.not_run),
        flags=list(FLAGS.values()),
        paper=PAPER,
        none=NONE,
        not_run=NOT_RUN,
        mlflow=MLFLOW,
        chart_size=(charts.WIDTH, charts.HEIGHT),
    )


def _pictures(section: Section) -> list[str]:
    """Return its pictures as addresses that hold them, for a page that fetches nothing."""
    drawn = [content for name, content in section.figures.items() if name.endswith(".png")]
    return [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in drawn]


def _study(name: str, part: StudyPart) -> dict[str, Any]:
    table = part.table
    if table is None:
        return {"id": name, "study": part.study, "title": part.title, "table": None}
    results = table.results
    scale = panels.shared_scale(
        results.curves[cell.key, pair.pair, pair.epoch, split]
        for cell in results.cells
        for pair in cell.pairs
        for split in ORDER
    )
    drawn_rows, drawn_columns = panel_axes(table)
    rows, number = [], 0
    for row in table.rows:
        places = []
        for entry in table.line(row):
            number += 1
            drawn = entry.row in drawn_rows and entry.column in drawn_columns
            places.append(_place(entry, table, f"{name}-cell-{number}", scale, drawn))
        rows.append((axis_label(row, table.rows), places))
    experiment = f"{EXPERIMENT_PREFIX}{part.study}/{results.profile}"
    return {
        "id": name,
        "study": part.study,
        "title": part.title,
        "table": table,
        "rows": rows,
        "columns": [axis_label(column, table.columns) for column in table.columns],
        "across": len(drawn_columns),
        "paper": paper_name(results),
        "heading": heading(results),
        "analogue": analogue_note(results),
        "table_shows": table_shows(table),
        "figure_shows": figure_shows(table),
        "agrees": agrees(table),
        "lines_agree": NOT_COUNTED if results.analogue else "Agreement is counted on the barriers, not on these lines.",
        "statements_show": statements_show(part.claim, part.findings) if part.claim else None,
        "statement_columns": STATEMENTS,
        "statements": list(map(statement_row, part.findings)),
        "plot": part.plot,
        "values_show": values_show(part.plot, table) if part.plot else None,
        "charts": charts.charts(part.plot) if part.plot else [],
        "lines": charts.key(part.plot) if part.plot else [],
        "scale": scale,
        "x": panels.x,
        "size": (panels.WIDTH, panels.HEIGHT),
        "experiment": experiment,
        "experiment_link": f"{MLFLOW}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}",
    }


def _place(entry: Entry, table: StudyTable, anchor: str, scale: panels.Scale, drawn: bool) -> Place:
    cell = entry.cell
    first, *rest = entry_lines(entry)
    note = means(cell) if cell is not None and entry.n else first
    word = outcome(entry)
    said = f"{entry.label}: {note if note == word else f'mean barrier, test / train, {note} points; {word} on test'}"
    lines = panels.lines(cell, table.results, scale) if cell else []
    return Place(
        entry=entry,
        anchor=anchor if cell else None,
        bold=first,
        rest=rest,
        marked="apart" if "disconnected" in (entry.verdict("test"), entry.verdict("train")) else "",
        paper=paper_numbers(entry),
        panel=Panel(entry.label, note, said, lines),
        drawn=drawn,
        details=cell_details(entry, cell, table.results) if cell else None,
        agrees=cell_agrees(entry, table),
        filter=f"tags.`{CELL}` = '{cell.key}'" if cell else "",
    )


def _agreement(tables: list[StudyTable]) -> dict[str, Any] | None:
    """Return the 2x2 tables of both splits, their unequal ends, and the distances; None if only analogues were run."""
    if all(table.results.analogue for table in tables):
        return None
    by_split = {split: compared(tables, split) for split in ORDER}
    distances = []
    for found in by_split["test"]:
        apart = [entry_distance(found.entry, split) for split in ORDER]
        if apart[0] is not None:
            distances.append((found.entry.label, [points(value) for value in apart]))
    return {
        "counted": bool(by_split["test"]),
        "headings": OUTCOME_HEADINGS,
        "two_by_two": {split: two_by_two(cells) for split, cells in by_split.items()},
        "unequal_ends": {split: unequal_ends(cells) for split, cells in by_split.items()},
        "distances": distances,
    }
