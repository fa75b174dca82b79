"""`lmc show`, `lmc list` and `lmc compare RUN_A RUN_B`: what a store holds, for people or as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.cli.begin import prepare_dataset
from lmc_repro.cli.progress import listener
from lmc_repro.data.catalog import dataset_info
from lmc_repro.errors import LmcError
from lmc_repro.project import Project, find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.studies.expand import Choice, plan_study, validate_all
from lmc_repro.studies.workspace import begin_process, prepared_dir

if TYPE_CHECKING:
    from lmc_repro.compare.two_runs import TwoRuns
    from lmc_repro.schemas.profile import Judgement
    from lmc_repro.tracking.views import Present, Stranger


def show_command(run_id: str, uri: str | None, as_json: bool) -> None:
    """Print one run of the store."""
    from lmc_repro.report.run_text import run_lines
    from lmc_repro.tracking.find import Reader
    from lmc_repro.tracking.views import run_view

    root = find_root(uri)
    reader = Reader.open(root, uri)
    project = Project(root)
    view = run_view(reader, reader.run(run_id), present_of(project) if project.params.is_file() else None)
    if as_json:
        _print_json(view)
    else:
        print("\n".join(run_lines(view)))


def list_command(study: str, profile: str | None, uri: str | None, as_json: bool) -> None:
    """Print the cells of a study: of the store, or of its results where the store has none or cannot be read."""
    project = find_project()
    plan = plan_study(load_params(project.params), study, Choice(profile=profile))
    from lmc_repro.report.run_text import cells_of_results, listing_lines
    from lmc_repro.tracking.views import stored_cells

    present = present_of(project)
    try:
        (place, known), damage = cells_of_results(present.places(study, plan.profile), plan.profile), None
    except LmcError as error:  # no matter where the store has what is asked for
        (place, known), damage = ("", []), error
    strangers: list[Stranger] = []
    try:
        source, cells, strangers = stored_cells(project.root, uri, plan, present)
        others = f" that belong to params.yaml and results, but {len(strangers)} others" if strangers else ""
        why = f"{source} has no cells of lmc/{study}/{plan.profile}{others}"
    except LmcError as error:
        if uri is not None:
            raise
        source, cells, why = "", [], str(error)
    remarks = {}
    if cells:
        said = {cell.cell: cell.says() for cell in known}
        apart = [cell.cell for cell in cells if cell.n and said.get(cell.cell, cell.says()) != cell.says()]
        remarks = {key: f"{place} has other numbers; `lmc publish {study}` brings them into the store" for key in apart}
    elif known:
        source, cells = place, known
    elif damage:
        raise damage
    else:
        raise LmcError(f"{study}, profile {plan.profile}: {why}, and there are no results; run `lmc run {study}`")
    if as_json:
        about = {"study": study, "profile": plan.profile, "source": source, "remarks": remarks}
        listed = [dataclasses.asdict(cell) for cell in cells]
        _print_json({**about, "cells": listed, "strangers": [dataclasses.asdict(run) for run in strangers]})
        return
    print(f"{study}, profile {plan.profile}: {len(cells)} cells of {source}")
    print("\n".join(listing_lines(cells, strangers, remarks)))


def present_of(project: Project) -> Present:
    """Return the present params.yaml and results of a project, which records are held against."""
    from lmc_repro.tracking.views import Present

    params = load_params(project.params)
    return Present(project, lambda study, profile: plan_study(params, study, Choice(profile=profile)))


def compare_runs_command(run_a: str, run_b: str, points: int | None, uri: str | None, as_json: bool) -> None:
    """Measure and print the path between two trainings."""
    project = find_project()
    params = load_params(project.params)
    validate_all(params)
    profile = params.profiles[params.profile]
    begin_process(params, params.profile, told := listener())
    from lmc_repro.compare.two_runs import check_fit, compare_runs, find_end
    from lmc_repro.tracking.find import Reader

    reader = Reader.open(project.root, uri)
    ends = find_end(reader, run_a), find_end(reader, run_b)
    name = ends[0].config.data.dataset
    prepared = prepared_dir(project, [name])
    if prepared != project.prepared:  # the active profile has no use for it, or nothing was run here yet
        prepare_dataset(project, params, name, prepared, told)
    check_fit(*ends, prepared)
    found = compare_runs(reader, ends, prepared, points or profile.points)
    record = _record(found, profile.judgement)
    if as_json:
        _print_json(record)
    else:
        _print_two(record)


def _record(found: TwoRuns, judgement: Judgement) -> dict[str, Any]:
    from lmc_repro.report.path_text import split_records

    final = found.result.final
    classes = dataset_info(found.ends[0].config.data.dataset).classes
    return {
        "runs": [
            {
                "run_id": end.run.run_id,
                "name": end.name,
                "fingerprint": end.run.fingerprint,
                "status": status,
                "epoch": end.config.epochs,
                "seeds": {k.removeprefix("seeds."): v for k, v in end.config.flat().items() if k.startswith("seeds.")},
            }
            for end, status in zip(found.ends, final.status, strict=True)
        ],
        "kind": found.kind,
        "differences": found.differences,
        "dataset": found.ends[0].config.data.dataset,
        "points": found.points,
        "threshold": judgement.threshold,
        "distance": found.result.distance,
        "cosine": found.result.cosine,
        "disagreement": found.result.disagreement,
        **split_records(final, judgement, classes),
    }


def _print_two(record: dict[str, Any]) -> None:
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.report.path_text import path_lines

    for i, end in enumerate(record["runs"]):
        seeds = ", ".join(f"{name} {seed}" for name, seed in end["seeds"].items() if seed is not None)
        print(f"theta_{i}: {end['name']}, {end['status']}, epoch {end['epoch']}, seeds: {seeds}, run {end['run_id']}")
    other = "" if record["kind"] == "noise" else "different initialisations; "
    print(f"{other}{record['points']} points on {record['dataset']}, in percentage points:")
    for key, (first, second) in record["differences"].items():
        print(f"the runs differ in {key}: {first} and {second}")
    print("\n".join(path_lines({split: record[split] for split in SPLITS}, record["threshold"])))


def find_root(uri: str | None) -> Path:
    """Return the project's folder; a store that is named needs no project."""
    try:
        return find_project().root
    except LmcError:
        if uri is None:
            raise
        return Path.cwd()


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))
