"""Commands that show studies and runs: list, show, ui."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

from lmc_repro.cli import options as opt
from lmc_repro.common.errors import Interrupted, LmcError
from lmc_repro.common.files import read_json
from lmc_repro.common.project import Project, find_project, is_project
from lmc_repro.common.words import counted

if TYPE_CHECKING:
    from lmc_repro.config.params import Params
    from lmc_repro.tracking.views import Present, Shown, Stranger

SIDE_BY_SIDE = 12
"""Pairs on the pages of the metric and of the comparison: more are neither legible nor an address of sane length."""

SHORT = 200
"""Characters of an address that a terminal shows below its link; a list of runs has 500 and more."""

AT_ONCE = 100
"""Number of runs that MLflow's pages load at a time, whatever number they display."""


def show(
    run_id: Annotated[
        str, Argument(metavar="RUN_ID", help="The id of a run in MLflow: a cell's, a training's or a pair's.")
    ],
    tracking_uri: opt.TrackingUri = None,
    as_json: opt.AsJson = False,
) -> None:
    """Show one run: a cell, a training or a pair.

    Prints config, seeds, status, errors at the evaluation epochs, barriers, a small curve, and the ids of the runs
    around it. `lmc list STUDY` prints ids to begin with.
    """
    from lmc_repro.cli.session import open_store, say
    from lmc_repro.report.run_text import run_lines
    from lmc_repro.tracking.views import run_view

    project, reader = open_store(tracking_uri)
    view = run_view(reader, reader.run(run_id), present_of(project) if is_project(project.root) else None)
    say(view, run_lines(view), as_json)


def list_(
    study: Annotated[
        str | None,
        Argument(metavar="STUDY", autocompletion=opt.studies, help="A study of params.yaml; default: all of them."),
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
    from lmc_repro.cli.session import load_project, open_study, say
    from lmc_repro.config.expand import pick_profile
    from lmc_repro.report.run_text import cells_of_results, listing_lines
    from lmc_repro.tracking import store
    from lmc_repro.tracking.views import stored_cells

    if study is None:
        if tracking_uri is not None:
            raise LmcError("--tracking-uri: found without STUDY; name a study, `lmc list` alone reads results")
        project, params = load_project()
        key = pick_profile(params, profile)
        states = [_study_state(project, params, study, key) for study in params.studies]
        states += [_exhibit_state(project, params, exhibit) for exhibit in params.exhibits]
        width = max(len(state.key) for state in states)
        lines = [f"{state.key:{width}}  {state.said()}" for state in states]
        head = f"params.yaml, profile {key}; `lmc list STUDY` lists its cells"
        say({"profile": key, "states": list(map(asdict, states))}, (head, *lines), as_json)
        return
    project, _, plan = open_study(study, profile)
    store.require_in_place(project.home, store.tracking_uri(project.home, tracking_uri))
    present = present_of(project)
    damage: LmcError | None = None
    trouble: LmcError | None = None
    try:
        place, known, other = cells_of_results(present.places(study, plan.profile), plan)
    except LmcError as error:  # wherever the store holds it
        place, known, other, damage = "", [], [], error
    strangers: list[Stranger] = []
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
        said = {cell.cell_id: cell.says() for cell in known}
        differing = [cell.cell for cell in cells if cell.n and said.get(cell.cell_id, cell.says()) != cell.says()]
        fix = f"`lmc publish {study}` brings them into the store"
        remarks = {key: f"{place} has other numbers; {fix}" for key in differing}
    elif place:
        ids = {stranger.cell_id: stranger.run_id for stranger in strangers}
        source, cells = place, [replace(cell, run_id=ids.get(cell.cell_id)) for cell in known]
        listed = {cell.run_id for cell in cells}
        strangers = [stranger for stranger in strangers if stranger.run_id not in listed]
        remarks = dict.fromkeys(other, "made with other settings than those of params.yaml")
    else:
        missing = f"{study}, profile {plan.profile}: {why}, and no results; run `lmc run {study}`"
        raise trouble or damage or LmcError(missing)
    record = {
        "study": study,
        "profile": plan.profile,
        "source": source,
        "remarks": remarks,
        "cells": list(map(asdict, cells)),
        "strangers": list(map(asdict, strangers)),
    }
    title = f"{study}, profile {plan.profile}: {counted(len(cells), 'cell')} of {source}"
    say(record, (title, *listing_lines(cells, strangers, remarks)), as_json)
    if trouble is not None:  # after what the results folder has instead
        raise trouble


def present_of(project: Project) -> Present:
    """Return the present params.yaml and results of a project, against which records are checked."""
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.config.load import load_params
    from lmc_repro.tracking.views import Present

    params = load_params(project.params)
    return Present(project, lambda study, profile: plan_study(params, study, Choice(profile=profile)))


@dataclass(frozen=True)
class State:
    """A study or exhibit: its cells that have results, those planned, and the verdicts on test of the former.

    `other` counts cells with results of other settings than params.yaml's; `where` is the folder that was read, None
    where there are no results, and `written` the local time of its last change. `remark` says why no more is known.
    """

    key: str
    kind: str
    title: str
    planned: int = 0
    done: int = 0
    other: int = 0
    verdicts: dict[str, int] | None = None
    where: str | None = None
    written: str | None = None
    remark: str | None = None

    def said(self) -> str:
        """Return the state as one line."""
        words = [f"{self.done} of {self.planned} cells" if self.kind == "study" else "exhibit"]
        words += [f"{count} {verdict}" for verdict, count in (self.verdicts or {}).items()]
        words += [f"{self.other} of other settings"] if self.other else []
        words += [self.remark] if self.remark else []
        words += [f"{self.where}, {self.written}"] if self.where else []
        return f"{', '.join(words)}  ({self.title})"


def _study_state(project: Project, params: Params, study: str, profile: str) -> State:
    """Return the state of a study under a profile: of results/, or of out/ where that has none of the profile."""
    from lmc_repro.config.expand import Choice, NoCells, plan_study

    title, fix = params.studies[study].title, f"run `lmc compare {study}`"
    try:
        plan = plan_study(params, study, Choice(profile=profile))
    except NoCells:
        return State(study, "study", title, remark="left out by this profile")
    except LmcError as error:
        return State(study, "study", title, remark=str(error))
    planned = {cell.key: (cell.config, len(cell.pairs)) for cell in plan.cells}
    for folder in (project.results / study, project.out / profile / study / "results" / study):
        if not (folder / "cells.json").is_file():
            continue
        try:
            made: dict[str, Any] = read_json(folder / "runs.json", fix)
            cells: list[dict[str, Any]] = read_json(folder / "cells.json", fix)
            if made["profile"] != profile:
                continue
            found = {cell["cell"]: (cell["config"], len(cell["pairs"])) for cell in cells}
            same = [cell for cell in cells if _plain(planned.get(cell["cell"])) == list(found[cell["cell"]])]
            verdicts = Counter(str(cell["test"]["verdict"] or "without verdict") for cell in same)
        except (LmcError, KeyError, TypeError, AttributeError) as error:
            remark = str(error) if isinstance(error, LmcError) else "damaged results; `lmc verify` names the file"
            return State(study, "study", title, len(planned), remark=remark)
        return State(
            study,
            "study",
            title,
            planned=len(planned),
            done=len(same),
            other=len(cells) - len(same),
            verdicts=dict(sorted(verdicts.items())),
            where=str(folder.relative_to(project.root)),
            written=_written(folder / "cells.json"),
        )
    return State(study, "study", title, len(planned), remark=f"no results; `lmc run {study}`")


def _exhibit_state(project: Project, params: Params, key: str) -> State:
    """Return the state of an exhibit."""
    title, path = params.exhibits[key].title, project.results / key / "exhibit.json"
    if not path.is_file():
        return State(key, "exhibit", title, remark=f"no results; `lmc exhibit {key}`")
    return State(key, "exhibit", title, where=str(path.parent.relative_to(project.root)), written=_written(path))


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")


def ui(
    study: Annotated[
        str | None,
        Argument(
            metavar="STUDY", autocompletion=opt.studies, help="A study that the store holds; default: all of them."
        ),
    ] = None,
    row: Annotated[
        str | None,
        Option(metavar="ROW", autocompletion=opt.rows, help="Only the pairs of this row, e.g. 8-layer-bs1024."),
    ] = None,
    column: Annotated[
        str | None,
        Option(metavar="COLUMN", autocompletion=opt.columns, help="Only the pairs of this column, e.g. adam-high."),
    ] = None,
    port: Annotated[
        int, Option(metavar="N", min=1, max=65535, help="The port on 127.0.0.1; another free one if it is taken.")
    ] = 5000,
) -> None:
    """Open MLflow's user interface here and print where to look.

    Prints links for each experiment: the published view (all paths over one another from alpha 0 to 1, their barriers
    below), the table with trainings and pairs below their cells, and the pairs with the largest barriers side by side;
    --row and --column choose others for these. Ctrl-C ends the server. Where MLFLOW_TRACKING_URI names a server, the
    links lead there.
    """
    from lmc_repro.tracking.health import facts
    from lmc_repro.tracking.server import HOST, free_port, mlflow_server
    from lmc_repro.tracking.views import find_shown

    project = find_project()
    uri, shown = find_shown(project, study, row, column, present_of(project))
    for name, _, detail, _ in facts(uri):
        echo(f"{name}: {detail}", err=True)
    if uri.startswith(("http://", "https://")):
        print("\n".join(links(re.sub("//[^/@]*@", "//", uri.rstrip("/")), shown, row, column)))
        return
    if (free := free_port(port)) != port:
        echo(f"port {port} is taken; using {free}", err=True)
    echo("starting mlflow server ...", err=True)
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # a closed terminal ends the server, too
    with mlflow_server(uri, project.root, free, project.working / "ui.log") as server:
        try:
            print("\n".join(links(f"http://{HOST}:{free}", shown, row, column)))
            print("Ctrl-C ends the server", flush=True)
            code = server.wait()
        except Interrupted:
            echo("server ended", err=True)
            return
    echo(f"the server ended by itself with code {code}; see {project.working / 'ui.log'}", err=True)


def links(base: str, shown: list[Shown], row: str | None, column: str | None) -> Iterator[str]:
    """Yield the lines that `lmc ui` prints: the pages of each experiment below the address `base`."""
    from lmc_repro.tracking.ui import PAIRS, compare_link, metric_link, pairs_link, table_link, view_link
    from lmc_repro.tracking.views import narrowed

    for experiment in shown:
        key, pairs = experiment.experiment_id, experiment.pairs
        narrow = " ".join(filter(None, (row, column)))
        yield f"{experiment.name}: {counted(len(pairs), 'pair')}" + (f" of {narrow}" if narrow else "")
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
            which = f"the {len(best)} largest barriers" if len(best) < len(pairs) else counted(len(best), "pair")
            yield _linked(f"test error by step (1000 alpha), {which}", metric_link(base, key, best))
            yield _linked(f"side by side, {which}", compare_link(base, key, best))


def _linked(text: str, address: str) -> str:
    """Return a line whose text is a hyperlink on a terminal; where it is none, and if short, with the address below."""
    if not sys.stdout.isatty():
        return f"  {text}\n    {address}"
    link = f"  \033]8;;{address}\033\\{text}\033]8;;\033\\"
    return link if len(address) > SHORT else f"{link}\n    {address}"
