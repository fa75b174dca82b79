"""report/index.html: the report as one file that needs nothing else, for a browser, a phone and a printer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lmc_repro.report import panels
from lmc_repro.report.agreement import OUTCOME_HEADINGS, compared, entry_distance, two_by_two
from lmc_repro.report.details import CellDetails, cell_details, values
from lmc_repro.report.sentences import NOT_COUNTED, ORDER, agrees, cell_agrees, figure_shows, outcome, table_shows
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.words import (
    FLAGS,
    NONE,
    NOT_RUN,
    PAPER,
    analogue_note,
    entry_lines,
    heading,
    means,
    paper_numbers,
    points,
)
from lmc_repro.tracking.names import CELL, EXPERIMENT_PREFIX

if TYPE_CHECKING:
    from jinja2 import Template

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

    `anchor` names its details, None where it was not run; `marked` is `apart` where either split is disconnected.
    """

    entry: Entry
    anchor: str | None
    bold: str
    rest: list[str]
    marked: str
    paper: str
    panel: Panel
    details: CellDetails | None
    agrees: str
    filter: str


def html_page(tables: Mapping[str, StudyTable | None]) -> str:
    """Return index.html: no script, no request, all that is said escaped; equal results give equal text."""
    studies = [
        _study(f"study-{i}", study, table) if table else {"id": f"study-{i}", "study": study, "table": None}
        for i, (study, table) in enumerate(tables.items(), start=1)
    ]
    found = [table for table in tables.values() if table]
    entries = ((key, values(value), source) for table in found for key, value, source in table.results.provenance)
    return _template().render(
        studies=studies,
        agreement=_agreement(found),
        provenance=list(dict.fromkeys(entries)),
        flags=list(FLAGS.values()),
        paper=PAPER,
        none=NONE,
        not_run=NOT_RUN,
        mlflow=MLFLOW,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("lmc_repro.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template("page.html.j2")


def _study(name: str, study: str, table: StudyTable) -> dict[str, Any]:
    results = table.results
    scale = panels.shared_scale(
        results.curves[cell.key, pair.pair, pair.epoch, split]
        for cell in results.cells
        for pair in cell.pairs
        for split in ORDER
    )
    rows, number = [], 0
    for row in table.rows:
        places = []
        for entry in table.line(row):
            number += 1
            places.append(_place(entry, table, f"{name}-cell-{number}", scale))
        rows.append((row, places))
    experiment = f"{EXPERIMENT_PREFIX}{study}/{results.profile}"
    return {
        "id": name,
        "study": study,
        "table": table,
        "rows": rows,
        "heading": heading(results),
        "analogue": analogue_note(results),
        "table_shows": table_shows(table),
        "figure_shows": figure_shows(table),
        "agrees": agrees(table),
        "lines_agree": NOT_COUNTED if results.analogue else "Agreement is counted on the barriers, not on these lines.",
        "scale": scale,
        "x": panels.x,
        "size": (panels.WIDTH, panels.HEIGHT),
        "experiment": experiment,
        "experiment_link": f"{MLFLOW}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}",
    }


def _place(entry: Entry, table: StudyTable, anchor: str, scale: panels.Scale) -> Place:
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
        details=cell_details(entry, cell, table.results) if cell else None,
        agrees=cell_agrees(entry, table),
        filter=f"tags.`{CELL}` = '{cell.key}'" if cell else "",
    )


def _agreement(tables: list[StudyTable]) -> dict[str, Any] | None:
    """Return the 2x2 tables of both splits and the distances; None where only analogues were run."""
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
        "distances": distances,
    }
