"""Commands that show studies, runs and reports: list, show, ui, report, exhibit, reproduction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmc_repro.cli import options as opt

if TYPE_CHECKING:
    from lmc_repro.common.project import Project
    from lmc_repro.tracking.views import Present, Shown, Stranger

SIDE_BY_SIDE = 12
"""Pairs on the pages of the metric and of the comparison: more are neither legible nor an address of sane length."""

AT_ONCE = 100
"""Number of runs that MLflow's pages load at a time, whatever number they display."""


def show(
    run_id: Annotated[str, typer.Argument(help="The id of a run in MLflow: a cell's, a training's or a pair's.")],
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
    study: opt.Study,
    profile: opt.Profile = None,
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
) -> None:
    """List the cells of a study: barriers, verdicts, run ids.

    Prints mean barriers in percentage points, test / train, and a small curve each. Reads MLflow, or the results
    folder where MLflow has none of the cells.
    """
    import dataclasses

    from lmc_repro.cli.session import open_study, say
    from lmc_repro.common.errors import LmcError
    from lmc_repro.report.run_text import cells_of_results, listing_lines
    from lmc_repro.tracking import store
    from lmc_repro.tracking.views import stored_cells

    project, _, plan = open_study(study, profile)
    store.require_in_place(project.home, store.tracking_uri(project.home, tracking_uri))
    present = present_of(project)
    try:
        (place, known), damage = cells_of_results(present.places(study, plan.profile), plan.profile), None
    except LmcError as error:  # wherever the store holds it
        (place, known), damage = ("", []), error
    here = {cell.key for cell in plan.cells}
    known = [cell for cell in known if cell.cell in here]  # of a renamed row, results are others' too
    strangers: list[Stranger] = []
    try:
        source, cells, strangers = stored_cells(project.home, tracking_uri, plan, present)
        others = f" that belong to params.yaml and results, but {len(strangers)} others" if strangers else ""
        why = f"{source} has no cells of lmc/{study}/{plan.profile}{others}"
    except LmcError as error:
        if tracking_uri is not None:
            raise
        source, cells, why = "", [], str(error)
    remarks = {}
    if cells:
        said = {cell.cell: cell.says() for cell in known}
        differing = [cell.cell for cell in cells if cell.n and said.get(cell.cell, cell.says()) != cell.says()]
        fix = f"`lmc publish {study}` brings them into the store"
        remarks = {key: f"{place} has other numbers; {fix}" for key in differing}
    elif known:
        source, cells = place, known
    else:
        missing = f"{study}, profile {plan.profile}: {why}, and there are no results; run `lmc run {study}`"
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


def present_of(project: Project) -> Present:
    """Return the present params.yaml and results of a project, against which records are checked."""
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.config.load import load_params
    from lmc_repro.tracking.views import Present

    params = load_params(project.params)
    return Present(project, lambda study, profile: plan_study(params, study, Choice(profile=profile)))


def ui(
    study: Annotated[str | None, typer.Argument(help="A study that the store holds; default: all of them.")] = None,
    row: Annotated[str | None, typer.Option(help="Only the pairs of this row, e.g. 8-layer-bs1024.")] = None,
    column: Annotated[str | None, typer.Option(help="Only the pairs of this column, e.g. adam-high.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of 127.0.0.1; another one if it is taken.")] = 5000,
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
    from lmc_repro.tracking.server import HOST, free_port, mlflow_server
    from lmc_repro.tracking.views import find_shown

    project = find_project()
    uri, shown = find_shown(project, study, row, column, present_of(project))
    if uri.startswith(("http://", "https://")):
        print("\n".join(links(uri.rstrip("/"), shown, row, column)))
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
        yield f"  view: all paths over alpha, barriers below\n    {view_link(base, key)}"
        if len(pairs) > AT_ONCE:
            yield f"    (the {AT_ONCE} largest barriers at first: `Load more` ends MLflow's list and brings the others)"
        yield f"  the pairs by filter and order alone\n    {pairs_link(base, key, narrowed(PAIRS, row, column))}"
        yield f"  table: trainings and pairs below their cells\n    {table_link(base, key, narrowed('', row, column))}"
        if len(pairs) > AT_ONCE // 4 and not narrow:  # and as many cells and trainings as there are of a pair
            yield f"    ({AT_ONCE} runs at first: `Load more` below them brings all; --row, --column: fewer)"
        if best := pairs[:SIDE_BY_SIDE]:
            which = f"the {len(best)} largest barriers" if len(best) < len(pairs) else f"{len(best)} pairs"
            yield f"  test error by step (1000 alpha), {which}\n    {metric_link(base, key, best)}"
            yield f"  side by side, {which}\n    {compare_link(base, key, best)}"


def report(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="Print the tables of these too.")
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Write report/ for all studies and print an overview.

    A stage of DVC. The overview names every table, figure and appendix of the paper; the tables of the named studies
    follow it. --json prints all studies, statements and cells that were not run.
    """
    from lmc_repro.cli.session import open_project, show_report
    from lmc_repro.config.expand import Choice, plan_study

    project, params = open_project()
    for study in studies or ():
        if study not in params.exhibits:
            plan_study(params, study)  # refuses an unknown name before any work
    choices, exhibits = dict.fromkeys(params.studies, Choice()), tuple(params.exhibits)
    show_report(params, project.results, project.report, choices, studies or (), as_json, exhibits)


def exhibit(
    key: Annotated[str, typer.Argument(help="An exhibit of params.yaml: table3, figure4 or table4.")],
    as_json: opt.AsJson = False,
) -> None:
    """Make a table or figure that needs no training of its own.

    A stage of DVC: writes results/KEY and prints its table. Takes parameter counts from the models, first batches from
    the loaders, test accuracies from a study's results.
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
        Path | None, typer.Argument(help="Holds kept results in STUDY/PART/. Default: docs/reproduction.")
    ] = None,
    profile: Annotated[str, typer.Option(help="The profile whose cells are listed.")] = "paper",
) -> None:
    """Print ours against the paper's numbers, from kept results.

    Prints the page docs/reproduction.md. To keep results: copy cells.json, curves.csv and runs.json of a results folder
    to docs/reproduction/STUDY/PART and describe the machine in machine.txt beside them. notes.md beside them, or one
    folder up, is shown too.
    """
    from lmc_repro.cli.session import begin, open_project
    from lmc_repro.common.errors import LmcError
    from lmc_repro.config.expand import Choice, plan_study

    project, params = open_project()
    folder = folder or project.root / "docs" / "reproduction"
    if not folder.is_dir():
        raise LmcError(f"{folder}: no such folder; name one with STUDY/PART/{{runs.json,cells.json,curves.csv}}")
    begin(params, profile)
    from lmc_repro.config.reported import reported_claim
    from lmc_repro.pipeline.costs import planned_cells
    from lmc_repro.report.reproduction import NOTES, Study, read_parts, read_text, reproduction_page

    sections = []
    for study, config in params.studies.items():
        planned = planned_cells(plan_study(params, study, Choice(profile=profile)))
        parts, notes = read_parts(folder / study), read_text(folder / study / NOTES)
        claim = reported_claim(study)
        sections.append(Study(study, config.title, config.question, planned, parts, notes, claim))
    print(reproduction_page(sections, read_text(folder / NOTES)), end="")
