"""Commands that show studies, runs and reports: list, show, ui, report, exhibit, reproduction."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmc_repro.cli import completion as complete
from lmc_repro.cli import options as opt

if TYPE_CHECKING:
    from lmc_repro.common.project import Project
    from lmc_repro.config.params import Params
    from lmc_repro.report.reproduction import Study
    from lmc_repro.tracking.views import Present, Shown, Stranger

SIDE_BY_SIDE = 12
"""Pairs on the pages of the metric and of the comparison: more are neither legible nor an address of sane length."""

SHORT = 200
"""Characters of an address that a terminal shows below its link; a list of runs has 500 and more."""

AT_ONCE = 100
"""Number of runs that MLflow's pages load at a time, whatever number they display."""


def show(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="The id of a run in MLflow: a cell's, a training's or a pair's.")
    ],
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
) -> None:
    """Show one run: a cell, a training or a pair.

    Prints config, seeds, status, errors at the evaluation epochs, barriers, a small curve, and the ids of the runs
    around it. `lmc list STUDY` prints ids to begin with.
    """
    from lmc_repro.cli.session import open_store, say
    from lmc_repro.common.project import is_project
    from lmc_repro.report.run_text import run_lines
    from lmc_repro.tracking.views import run_view

    project, reader = open_store(tracking_uri)
    view = run_view(reader, reader.run(run_id), present_of(project) if is_project(project.root) else None)
    say(view, run_lines(view), as_json)


def list_(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", autocompletion=complete.studies, help="A study of params.yaml; default: all of them."
        ),
    ] = None,
    profile: opt.Profile = None,
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
) -> None:
    """List all studies, or the cells of one: barriers, run ids.

    Without STUDY: of each study and exhibit of params.yaml, the number of cells that results/ or out/ has of those
    planned, how they are judged on test, and when they were written here.

    With STUDY: prints mean barriers in percentage points, test / train, and a small curve each. Reads MLflow, or the
    results folder where MLflow has none of the cells.
    """
    import dataclasses

    from lmc_repro.cli.session import open_study, say
    from lmc_repro.common.errors import LmcError
    from lmc_repro.report.run_text import cells_of_results, listing_lines
    from lmc_repro.tracking import store
    from lmc_repro.tracking.views import stored_cells

    if study is None:
        if tracking_uri is not None:
            raise LmcError("--tracking-uri: found without STUDY; name a study, `lmc list` alone reads results")
        _list_all(profile, as_json)
        return
    project, _, plan = open_study(study, profile)
    store.require_in_place(project.home, store.tracking_uri(project.home, tracking_uri))
    present = present_of(project)
    try:
        (place, known), damage = cells_of_results(present.places(study, plan.profile), plan.profile), None
    except LmcError as error:  # wherever the store holds it
        (place, known), damage = ("", []), error
    here, recorded = {cell.key for cell in plan.cells}, bool(known)
    known = [cell for cell in known if cell.cell in here]  # of a renamed row, results are others' too
    strangers: list[Stranger] = []
    trouble: LmcError | None = None
    try:
        source, cells, strangers = stored_cells(project.home, tracking_uri, plan, present)
        others = f" that belong to params.yaml and results, but {len(strangers)} others" if strangers else ""
        why = f"{source} has no cells of lmc/{study}/{plan.profile}{others}"
    except LmcError as error:
        if tracking_uri is not None:
            raise
        gone = isinstance(error, store.NoStore)
        source, cells, why, trouble = "", [], "no MLflow store" if gone else str(error), None if gone else error
    remarks = {}
    if cells:
        said = {cell.cell: cell.says() for cell in known}
        differing = [cell.cell for cell in cells if cell.n and said.get(cell.cell, cell.says()) != cell.says()]
        fix = f"`lmc publish {study}` brings them into the store"
        remarks = {key: f"{place} has other numbers; {fix}" for key in differing}
    elif recorded:
        source, cells = place, known
    else:
        if trouble is not None:
            raise trouble
        missing = f"{study}, profile {plan.profile}: {why}, and no results; run `lmc run {study}`"
        raise damage or LmcError(missing)
    record = {
        "study": study,
        "profile": plan.profile,
        "source": source,
        "remarks": remarks,
        "cells": list(map(dataclasses.asdict, cells)),
        "strangers": list(map(dataclasses.asdict, strangers)),
    }
    title = f"{study}, profile {plan.profile}: {len(cells)} cells of {source}"
    say(record, (title, *listing_lines(cells, strangers, remarks)), as_json)
    if trouble is not None:  # after what the results folder has instead
        raise trouble


def _list_all(profile: str | None, as_json: bool) -> None:
    """Print a line per study and exhibit of params.yaml."""
    import dataclasses

    from lmc_repro.cli.overview import exhibit_state, study_state
    from lmc_repro.cli.session import say
    from lmc_repro.common.project import find_project
    from lmc_repro.config.expand import pick_profile
    from lmc_repro.config.load import load_params

    project = find_project()
    params = load_params(project.params)
    key = pick_profile(params, profile)
    states = [study_state(project, params, study, key) for study in params.studies]
    states += [exhibit_state(project, params, exhibit) for exhibit in params.exhibits]
    width = max(len(state.key) for state in states)
    lines = [f"{state.key:{width}}  {state.said()}" for state in states]
    record = {"profile": key, "states": [dataclasses.asdict(state) for state in states]}
    say(record, (f"params.yaml, profile {key}; `lmc list STUDY` lists its cells", *lines), as_json)


def present_of(project: Project) -> Present:
    """Return the present params.yaml and results of a project, against which records are checked."""
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.config.load import load_params
    from lmc_repro.tracking.views import Present

    params = load_params(project.params)
    return Present(project, lambda study, profile: plan_study(params, study, Choice(profile=profile)))


def ui(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", autocompletion=complete.studies, help="A study that the store holds; default: all of them."
        ),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(
            metavar="ROW", autocompletion=complete.rows, help="Only the pairs of this row, e.g. 8-layer-bs1024."
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", autocompletion=complete.columns, help="Only the pairs of this column, e.g. adam-high."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(metavar="N", min=1, max=65535, help="Of 127.0.0.1; another one if it is taken.")
    ] = 5000,
) -> None:
    """Open MLflow's user interface here and print where to look.

    Prints links for each experiment: the published view (all paths over one another from alpha 0 to 1, their barriers
    below), the table with trainings and pairs below their cells, and the pairs with the largest barriers side by side;
    --row and --column choose others for these. Ctrl-C ends the server. Where MLFLOW_TRACKING_URI names a server, the
    links lead there.
    """
    import signal

    from lmc_repro.common.errors import Interrupted
    from lmc_repro.common.project import find_project
    from lmc_repro.tracking.health import facts
    from lmc_repro.tracking.server import HOST, free_port, mlflow_server
    from lmc_repro.tracking.views import find_shown

    project = find_project()
    uri, shown = find_shown(project, study, row, column, present_of(project))
    for name, _, detail, _ in facts(uri):
        typer.echo(f"{name}: {detail}", err=True)
    if uri.startswith(("http://", "https://")):
        print("\n".join(links(re.sub("//[^/@]*@", "//", uri.rstrip("/")), shown, row, column)))
        return
    if (free := free_port(port)) != port:
        typer.echo(f"port {port} is taken; using {free}", err=True)
    typer.echo("starting mlflow server ...", err=True)
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # a closed terminal ends the server, too
    with mlflow_server(uri, project.root, free, project.working / "ui.log") as server:
        try:
            print("\n".join(links(f"http://{HOST}:{free}", shown, row, column)))
            print("Ctrl-C ends the server", flush=True)
            code = server.wait()
        except Interrupted:
            typer.echo("server ended", err=True)
            return
    typer.echo(f"the server ended by itself with code {code}; see {project.working / 'ui.log'}", err=True)


def links(base: str, shown: list[Shown], row: str | None, column: str | None) -> Iterator[str]:
    """Yield the lines that `lmc ui` prints: the pages of each experiment below the address `base`."""
    from lmc_repro.tracking.ui import PAIRS, compare_link, metric_link, pairs_link, table_link, view_link
    from lmc_repro.tracking.views import narrowed

    for experiment in shown:
        key, pairs = experiment.experiment_id, experiment.pairs
        narrow = " ".join(filter(None, (row, column)))
        yield f"{experiment.name}: {len(pairs)} pairs" + (f" of {narrow}" if narrow else "")
        for why, count in experiment.strangers.items():
            yield f"  {count} more pairs are not among them: {why}"
        if not pairs:
            yield "  none compared yet: `lmc compare` or `lmc run` makes them"
        yield _linked("view: all paths over alpha, barriers below", view_link(base, key))
        if len(pairs) > AT_ONCE:
            yield f"    (the {AT_ONCE} largest barriers at first: `Load more` ends MLflow's list and brings the others)"
        yield _linked("the pairs by filter and order alone", pairs_link(base, key, narrowed(PAIRS, row, column)))
        nested = table_link(base, key, narrowed("", row, column))
        yield _linked("table: trainings and pairs below their cells", nested)
        if len(pairs) > AT_ONCE // 4 and not narrow:  # and as many cells and trainings as there are of a pair
            yield f"    ({AT_ONCE} runs at first: `Load more` below them brings all; --row, --column: fewer)"
        if best := pairs[:SIDE_BY_SIDE]:
            which = f"the {len(best)} largest barriers" if len(best) < len(pairs) else f"{len(best)} pairs"
            yield _linked(f"test error by step (1000 alpha), {which}", metric_link(base, key, best))
            yield _linked(f"side by side, {which}", compare_link(base, key, best))


def _linked(text: str, address: str) -> str:
    """Return a line whose text is a hyperlink on a terminal; where it is none, and if short, with the address below."""
    if not sys.stdout.isatty():
        return f"  {text}\n    {address}"
    link = f"  \033]8;;{address}\033\\{text}\033]8;;\033\\"
    return link if len(address) > SHORT else f"{link}\n    {address}"


def report(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY", autocompletion=complete.studies_and_exhibits, help="Print the tables of these too."
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
        typer.echo(f"{project.results}: no results; `dvc repro` makes them", err=True)
        for page in sorted(project.out.glob("*/*/report/index.html")):
            typer.echo(f"of `lmc run {page.parts[-3]}`: {page}", err=True)
    show_report(params, project.results, project.report, choices, studies or (), as_json, exhibits)


def exhibit(
    key: Annotated[
        str,
        typer.Argument(
            metavar="EXHIBIT", autocompletion=complete.exhibits, help="An exhibit of params.yaml, e.g. table3."
        ),
    ],
    as_json: opt.AsJson = False,
) -> None:
    """Make a table or figure that needs no training of its own.

    A stage of DVC: writes results/EXHIBIT and prints its table. Takes parameter counts from the models, first batches
    from the loaders, test accuracies from a study's results.
    """
    from lmc_repro.cli.session import open_project
    from lmc_repro.exhibits import EXHIBIT, make_exhibit, read_exhibit

    project, params = open_project()
    folder = make_exhibit(key, params, project)
    if as_json:
        print((folder / EXHIBIT).read_text(), end="")
        return
    from rich.console import Console

    from lmc_repro.report.terminal import print_block

    print_block(read_exhibit(folder, drawn=False).section, Console())
    print(f"exhibit: {folder}")


def reproduction(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Holds kept results in STUDY/PART/. Default: docs/reproduction."),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(metavar="PROFILE", autocompletion=complete.profiles, help="The profile whose cells are listed."),
    ] = "paper",
) -> None:
    """Print our numbers beside the paper's, from kept results.

    Prints the page docs/reproduction.md. To keep results: copy cells.json, curves.csv and runs.json of a results folder
    to docs/reproduction/STUDY/PART and describe the machine in machine.txt beside them. notes.md beside them, or one
    folder up, is shown too.
    """
    from lmc_repro.cli.session import begin, open_project
    from lmc_repro.common.errors import LmcError

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
