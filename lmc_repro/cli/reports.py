"""Commands that show results: report, exhibit, reproduction; export and plot bring them into a paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, echo

from lmc_repro.cli import options as opt
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_atomic

if TYPE_CHECKING:
    from lmc_repro.config.params import Params
    from lmc_repro.report.grid import StudyTable
    from lmc_repro.report.reproduction import Study


def report(
    studies: Annotated[
        list[str] | None,
        Argument(
            metavar="STUDY", autocompletion=opt.keys("studies", "exhibits"), help="Print the tables of these too."
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Write report/ for all studies and print an overview.

    A stage of DVC. The overview names every table, figure and appendix of the paper; the tables of the named studies
    follow it. --json prints all studies, statements and cells that were not run.
    """
    from lmc_repro.cli.session import open_project, show_report
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.results.read import has_results

    project, params = open_project()
    for study in studies or ():
        if study not in params.exhibits:
            plan_study(params, study)  # refuses an unknown name before any work
    choices, exhibits = dict.fromkeys(params.studies, Choice()), tuple(params.exhibits)
    if not any(has_results(project.results / study) for study in params.studies):
        echo(f"{project.results}: no results; `dvc repro` makes them", err=True)
        for page in sorted(project.out.glob("*/*/report/index.html")):
            echo(f"of `lmc run {page.parts[-3]}`: {page}", err=True)
    show_report(params, project.results, project.report, choices, studies or (), as_json, exhibits)


def exhibit(
    key: Annotated[
        str,
        Argument(
            metavar="EXHIBIT", autocompletion=opt.keys("exhibits"), help="An exhibit of params.yaml, e.g. table3."
        ),
    ],
    as_json: opt.AsJson = False,
) -> None:
    """Make a table or figure that needs no training of its own.

    A stage of DVC: writes results/EXHIBIT and prints its table. Takes parameter counts from the models, first batches
    from the loaders, test accuracies from a study's results.
    """
    from rich.console import Console

    from lmc_repro.cli.session import open_project
    from lmc_repro.exhibits import EXHIBIT, make_exhibit, read_exhibit
    from lmc_repro.report.text import print_block

    project, params = open_project()
    folder = make_exhibit(key, params, project)
    if as_json:
        print((folder / EXHIBIT).read_text(), end="")
        return
    print_block(read_exhibit(folder, drawn=False).section, Console())
    print(f"exhibit: {folder}")


def reproduction(
    folder: Annotated[
        Path | None, Argument(metavar="DIR", help="Holds kept results in STUDY/PART/. Default: docs/reproduction.")
    ] = None,
    profile: Annotated[
        str, Option(metavar="PROFILE", autocompletion=opt.profiles, help="The profile whose cells are listed.")
    ] = "paper",
) -> None:
    """Print our numbers beside the paper's, from kept results.

    Prints the page docs/reproduction.md. To keep results: copy cells.json, curves.csv and runs.json of a results folder
    to docs/reproduction/STUDY/PART and describe the machine in machine.txt beside them. notes.md beside them, or one
    folder up, is shown too.
    """
    from lmc_repro.cli.session import begin, open_project

    project, params = open_project()
    folder = folder or project.root / "docs" / "reproduction"
    if not folder.is_dir():
        raise LmcError(f"{folder}: no such folder; name one with STUDY/PART/{{runs.json,cells.json,curves.csv}}")
    begin(params, profile)
    from lmc_repro.report.reproduction import NOTES, read_text, reproduction_page

    print(reproduction_page(kept_studies(params, folder, profile), read_text(folder / NOTES)), end="")


def kept_studies(params: Params, folder: Path, profile: str) -> list[Study]:
    """Return every study of a profile, with the results that are kept in folder/STUDY/PART/."""
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.config.reported import reported_claim
    from lmc_repro.pipeline.costs import planned_cells
    from lmc_repro.report.reproduction import NOTES, Study, read_parts, read_text

    sections = []
    for study, config in params.studies.items():
        planned = planned_cells(plan_study(params, study, Choice(profile=profile)).cells)
        parts, notes = read_parts(folder / study), read_text(folder / study / NOTES)
        sections.append(Study(study, config.title, config.question, planned, parts, notes, reported_claim(study)))
    return sections


def export(
    study: opt.Study,
    latex: Annotated[bool, Option("--latex", help="booktabs, as wide as a column of the paper.")] = False,
    csv: Annotated[bool, Option("--csv", help="Mean and standard deviation in columns of their own.")] = False,
    markdown: Annotated[bool, Option("--markdown", help="A Markdown table.")] = False,
    profile: opt.Profile = None,
    out: Annotated[Path | None, Option(metavar="FILE", help="Write this file instead of printing.")] = None,
) -> None:
    """Print a study's cells as a table for a paper.

    Reads results/STUDY, or what `lmc run STUDY` wrote. A row per cell and split: the mean barrier of Eq. 1 with its
    standard deviation (from three trainer seeds on), the line barrier L, the number of trainer seeds, the verdict.
    """
    from lmc_repro.report.grid import export_table
    from lmc_repro.report.text import csv_table, latex_table, markdown_table

    if latex + csv + markdown != 1:
        raise LmcError("lmc export: give one of --latex, --csv, --markdown")
    table = export_table(_results(study, profile), joined=not csv)
    text = latex_table(table) if latex else csv_table(table) if csv else markdown_table(table.header, table.rows)
    if out is None:
        print(text, end="")
    else:
        write_atomic(out, text.encode())


def plot(
    study: opt.Study,
    out: Annotated[Path, Option(metavar="FILE", help="The figure's file: .pdf, .png or .svg.")],
    row: opt.Row = None,
    column: opt.Column = None,
    split: Annotated[str | None, Option(metavar="SPLIT", help="test or train; default: both.")] = None,
    zoom: Annotated[bool, Option("--zoom", help="Give flat panels a scale of their own, shaded.")] = False,
    plane: Annotated[bool, Option("--plane", help="The plane through three runs of one cell.")] = False,
    profile: opt.Profile = None,
) -> None:
    """Draw the paths of a study's cells for a paper.

    Reads results/STUDY, or what `lmc run STUDY` wrote. 3.25 inches wide, all panels on one scale; an upright line
    is the barrier of a pair. Letters have 8 points; a PDF embeds them as TrueType. Equal results give equal bytes.
    --plane draws the error on the plane of a cell whose settings ask for one.
    """
    from lmc_repro.report.figures import COLUMN, column_figure, picture_kind
    from lmc_repro.report.grid import ORDER
    from lmc_repro.report.plane_figure import planes_of

    kind = picture_kind(out, "--out ")
    if split is not None and split not in ORDER:
        raise LmcError(f"--split: found {split!r}, allowed: {', '.join(ORDER)}")
    table = _results(study, profile, row or (), column or ())
    if plane:
        if split is not None or zoom:
            raise LmcError("--plane: shows both splits; leave --split and --zoom out")
        chosen = [entry.cell for entry in table.entries if entry.cell and entry.cell.key in table.results.planes]
        if len(chosen) != 1:
            found = ", ".join(cell.key for cell in chosen) or "none"
            raise LmcError(
                f"--plane: found {found}, allowed: one cell of {study} with a plane; give --row and --column"
            )
        (figure,) = planes_of(dataclasses.replace(table.results, cells=tuple(chosen)), COLUMN, (kind,))
    else:
        figure = column_figure(table, [name for name in ORDER if split in (None, name)], (kind,), zoom)
    write_atomic(out, figure.files[kind])
    print(out)


def _results(study: str, profile: str | None, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> StudyTable:
    """Return a study's results, of the chosen rows and columns; LmcError for unknown ones and where there are none."""
    from lmc_repro.cli.session import open_study
    from lmc_repro.cli.views import present_of
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
