"""The commands that write and print reports: of exhibits, of this project's results, and of those that docs/ keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_repro.cli.begin import open_project
from lmc_repro.cli.progress import listener
from lmc_repro.errors import LmcError
from lmc_repro.exhibits.exhibit import EXHIBIT, make_exhibit, read_exhibit
from lmc_repro.schemas.params import Params
from lmc_repro.studies.expand import Choice, plan_study, reported_table
from lmc_repro.studies.workspace import begin_process

if TYPE_CHECKING:
    from lmc_repro.report.contents import Asked


def exhibit_command(key: str, as_json: bool = False) -> None:
    """Make one exhibit of the active profile below results/ and print it; as JSON: what its exhibit.json holds."""
    project, params = open_project()
    folder = make_exhibit(key, params, project)
    if as_json:
        print((folder / EXHIBIT).read_text(), end="")
        return
    from rich.console import Console

    from lmc_repro.report.terminal import print_section

    print_section(read_exhibit(folder, drawn=False), Console())
    print(f"exhibit: {folder}")


def report_command(studies: tuple[str, ...] = (), as_json: bool = False) -> None:
    """Write report/ from results/ and print the overview, and the tables of `studies` (or of the only one)."""
    project, params = open_project()
    for study in studies:
        if study not in params.exhibits:
            plan_study(params, study)  # a name that is not there is said before any work
    choices = dict.fromkeys(params.studies, Choice())
    show_report(params, project.results, project.report, choices, studies, as_json, tuple(params.exhibits))


def reproduction_command(folder: Path | None, profile: str) -> None:
    """Print docs/reproduction.md from the results that are kept beside it."""
    project, params = open_project()
    folder = folder or project.root / "docs" / "reproduction"
    if not folder.is_dir():
        raise LmcError(f"{folder}: no such folder; name one with STUDY/PART/{{runs.json,cells.json,curves.csv}}")
    begin_process(params, profile, listener())
    from lmc_repro.report.reproduction import NOTES, Section, read_parts, read_text, reproduction_page
    from lmc_repro.studies.costs import planned_cells
    from lmc_repro.studies.reported import reported_claim

    sections = []
    for study, config in params.studies.items():
        planned = planned_cells(plan_study(params, study, Choice(profile=profile)))
        parts, notes = read_parts(folder / study), read_text(folder / study / NOTES)
        claim = reported_claim(study)
        sections.append(Section(study, config.title, config.question, planned, parts, notes, claim))
    print(reproduction_page(sections, read_text(folder / NOTES)), end="")


def show_report(
    params: Params,
    results: Path,
    folder: Path,
    choices: dict[str, Choice],
    shown: tuple[str, ...],
    as_json: bool = False,
    exhibits: tuple[str, ...] = (),
) -> None:
    """Write a report of the studies in `choices` below `folder` and print the tables of those in `shown`."""
    from rich.console import Console

    from lmc_repro.report.contents import read_report
    from lmc_repro.report.json_tables import report_json
    from lmc_repro.report.terminal import print_overview, print_section, print_study
    from lmc_repro.report.write import write_report

    asked = {study: _asked(params, study, choice) for study, choice in choices.items()}
    report = read_report(results, asked, [read_exhibit(results / key) for key in exhibits])
    write_report(report, folder)
    if as_json:
        print(report_json(report))
        return
    console = Console()
    if len(report.parts) > 1:
        print_overview(report, console)
    there = [part.study for part in report.parts if part.table is not None]
    for part in report.parts:
        if part.study in shown or there == [part.study]:
            print_study(part, console)
    for exhibit in report.exhibits:
        if exhibit.key in shown:
            print_section(exhibit, console)
    if len(there) > 1 and not shown:
        print(f"tables: lmc report {' '.join(there)}")
    print(f"report: {folder / 'index.html'}")


def _asked(params: Params, study: str, choice: Choice) -> Asked:
    """Return what the report is to know of a study besides its results; a plan that cannot be made is its reason."""
    from lmc_repro.report.contents import Asked
    from lmc_repro.studies.costs import planned_cells
    from lmc_repro.studies.reported import reported_claim

    config = params.studies[study]
    asked = Asked(config.title, reported_table(config), reported_claim(study), choice.profile or params.profile)
    try:
        return dataclasses.replace(asked, planned=planned_cells(plan_study(params, study, choice)))
    except LmcError as error:
        return dataclasses.replace(asked, unplanned=str(error))
