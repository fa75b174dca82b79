"""Commands that bring a study's results into a paper: export, plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmc_repro.cli import options as opt

if TYPE_CHECKING:
    from lmc_repro.report.grid import StudyTable
    from lmc_repro.report.model import Figure


def export(
    study: opt.Study,
    latex: Annotated[bool, typer.Option("--latex", help="booktabs, as wide as a column of the paper.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Mean and standard deviation in columns of their own.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table.")] = False,
    profile: opt.Profile = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write this file instead of printing.")] = None,
) -> None:
    """Print a study's cells as a table for a paper.

    Reads results/STUDY, or what `lmc run STUDY` wrote. A row per cell and split: the mean barrier of Eq. 1 with its
    standard deviation (from three trainer seeds on), the line barrier L, the number of trainer seeds, the verdict.
    """
    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.files import write_atomic
    from lmc_repro.report.grid import export_table
    from lmc_repro.report.text import csv_table, latex_table, markdown_table

    if latex + csv + markdown != 1:
        raise LmcError("lmc export: give one of --latex, --csv, --markdown")
    table = export_table(_study(study, profile), joined=not csv)
    text = latex_table(table) if latex else csv_table(table) if csv else markdown_table(table.header, table.rows)
    if out is None:
        print(text, end="")
    else:
        write_atomic(out, text.encode())


def plot(
    study: opt.Study,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The figure's file: .pdf, .png or .svg.")],
    row: opt.Row = None,
    column: opt.Column = None,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="test or train; default: both.")] = None,
    zoom: Annotated[bool, typer.Option("--zoom", help="Give flat panels a scale of their own, shaded.")] = False,
    plane: Annotated[bool, typer.Option("--plane", help="The plane through three runs of one cell.")] = False,
    profile: opt.Profile = None,
) -> None:
    """Draw the paths of a study's cells for a paper.

    Reads results/STUDY, or what `lmc run STUDY` wrote. 3.25 inches wide, all panels on one scale; an upright line
    is the barrier of a pair. Letters have 8 points; a PDF embeds them as TrueType. Equal results give equal bytes.
    --plane draws the error on the plane of a cell whose settings ask for one.
    """
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.files import write_atomic
    from lmc_repro.report.figures import KINDS, column_figure
    from lmc_repro.report.grid import ORDER

    kind = out.suffix.removeprefix(".")
    if kind not in KINDS:
        raise LmcError(f"--out {out}: found {out.suffix!r}, allowed: {', '.join(f'.{kind}' for kind in KINDS)}")
    if split is not None and split not in SPLITS:
        raise LmcError(f"--split: found {split!r}, allowed: {', '.join(ORDER)}")
    table = _study(study, profile, row or (), column or ())
    if plane:
        if split is not None or zoom:
            raise LmcError("--plane: shows both splits; leave --split and --zoom out")
        figure = _plane(table, study, kind)
    else:
        figure = column_figure(table, [name for name in ORDER if split in (None, name)], (kind,), zoom)
    write_atomic(out, figure.files[kind])
    print(out)


def _plane(table: StudyTable, study: str, kind: str) -> Figure:
    """Return the figure of the one plane of a table's cells, in a column of a paper; LmcError if there are others."""
    from lmc_repro.common.errors import LmcError
    from lmc_repro.report.figures import COLUMN
    from lmc_repro.report.plane_figure import planes_of

    chosen = {entry.cell.key for entry in table.entries if entry.cell}
    there = [cell for cell in table.results.cells if cell.key in table.results.planes and cell.key in chosen]
    if len(there) != 1:
        found = ", ".join(cell.key for cell in there) or "none"
        raise LmcError(f"--plane: found {found}, allowed: one cell of {study} with a plane; give --row and --column")
    (figure,) = planes_of(dataclasses.replace(table.results, cells=tuple(there)), COLUMN, (kind,))
    return figure


def _study(study: str, profile: str | None, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> StudyTable:
    """Return a study's results, of the chosen rows and columns; LmcError for unknown ones and where there are none."""
    from lmc_repro.cli.session import open_study
    from lmc_repro.cli.views import present_of
    from lmc_repro.common.errors import LmcError
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.report.grid import study_table
    from lmc_repro.results.read import find_study

    project, params, plan = open_study(study, profile)
    chosen = plan_study(params, study, Choice(profile, tuple(rows), tuple(columns))).cells
    found = find_study(present_of(project).places(study, plan.profile), plan.profile)
    table = study_table(found[1]) if found else None
    keys = {(cell.row, cell.column) for cell in chosen}
    entries = [e for e in table.entries if e.cell and (e.row.key, e.column.key) in keys] if table else []
    if table is None or not entries:
        of = " of these cells" if table else ""
        raise LmcError(f"{study}, profile {plan.profile}: no results{of}; run `lmc run {study}`")
    return dataclasses.replace(table, entries=tuple(entries))
