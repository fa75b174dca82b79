"""Exhibits, tables and figures without training of their own: results/<key>/exhibit.json, and images beside it.

The files hold no dates and no ids.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError, choices, every
from lmc_repro.common.files import read_json, write_atomic, write_json
from lmc_repro.common.project import Project
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.exhibit import AccuraciesExhibit, BatchesExhibit
from lmc_repro.config.params import Params
from lmc_repro.exhibits import batches, tables
from lmc_repro.report.contents import Exhibit
from lmc_repro.report.grid import NOT_RUN
from lmc_repro.report.model import WRITTEN, Block, Items, Paragraph, Section
from lmc_repro.results.read import read_study

EXHIBIT = "exhibit.json"
IMAGES = "images.safetensors"

SHOW = {"parameters": tables.show_parameters, "batches": batches.show, "accuracies": tables.show_accuracies}


def check_exhibits(params: Params) -> None:
    """Raise LmcError, a line each, for exhibits whose data set or whose name in the paper does not exist."""
    every(partial(_check, key, params) for key in params.exhibits)


def _check(key: str, params: Params) -> None:
    exhibit, where = params.exhibits[key], f"params.yaml: exhibits.{key}"
    if isinstance(exhibit, AccuraciesExhibit):
        for row in exhibit.rows.values():
            for column in exhibit.columns.values():
                tables.printed_accuracy(exhibit, row, column, where)
        return
    dataset_info(exhibit.dataset, f"{where}: dataset")
    if isinstance(exhibit, BatchesExhibit):
        batches.check(exhibit, params, where)
        return
    for name in exhibit.networks:
        tables.printed_millions(exhibit, name, where)


def make_exhibit(key: str, params: Params, project: Project) -> Path:
    """Write the folder of one exhibit under the active profile and return it; LmcError for an unknown key."""
    if key not in params.exhibits:
        if key in params.studies:
            raise LmcError(f"EXHIBIT: {key} is a study; `lmc run {key}` trains and compares it")
        raise LmcError(f"EXHIBIT: {choices(key, params.exhibits, 'params.yaml: exhibits')}")
    exhibit, folder, where = params.exhibits[key], project.results / key, f"params.yaml: exhibits.{key}"
    images: dict[str, Any] = {}
    if isinstance(exhibit, BatchesExhibit):
        found, images = batches.make(exhibit, batches.shown_dataset(exhibit, params), project.prepared)
    elif isinstance(exhibit, AccuraciesExhibit):
        found = tables.collect_accuracies(exhibit, read_study(project.results / exhibit.study), where)
    else:
        found = tables.count_parameters(exhibit, params, where)
    if images:
        from safetensors.numpy import save

        write_atomic(folder / IMAGES, save(images))
    else:
        (folder / IMAGES).unlink(missing_ok=True)
    heading = exhibit.model_dump(include={"kind", "title", "question", "provenance"})
    heading |= {"key": key, "profile": params.profile, "analogue": params.profiles[params.profile].analogue}
    write_json(folder / EXHIBIT, heading | found)
    return folder


def read_exhibit(folder: Path, drawn: bool = True) -> Exhibit:
    """Return the exhibit of results/<key>/, with its figure if `drawn`; one that was not made yet says so.

    Raises:
        LmcError: A file is damaged; names it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    key, path, images, fix = folder.name, folder / EXHIBIT, folder / IMAGES, f"run `lmc exhibit {folder.name}`"
    if not path.exists():
        nothing = {"title": key, "question": "", "provenance": {}}
        return _exhibit(key, nothing, f"{NOT_RUN.capitalize()}: no results; `lmc exhibit {key}` makes them.")
    found = read_json(path, fix)
    try:
        if "not_run" in found:
            return _exhibit(key, found, f"{NOT_RUN.capitalize()}: {found['not_run']}.")
        outcome, shows, shown = SHOW[found["kind"]](found)
        shown = tuple(dataclasses.replace(table, name=f"{key}-{i}" if i else key) for i, table in enumerate(shown))
        made = _exhibit(key, found, outcome, shows, *shown)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise LmcError(f"{path}: not an exhibit ({type(error).__name__}: {error}); {fix}") from None
    if not drawn or found["kind"] != "batches":
        return made
    try:
        figure = batches.draw(found, load_file(images), f"{found['title']}. {shows}")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise LmcError(f"{images}: cannot be read ({' '.join(str(error).split())}); {fix}") from None
    return _exhibit(key, found, outcome, shows, *shown, figure)


def _exhibit(key: str, found: dict[str, Any], outcome: str, shows: str = "", *shown: Block) -> Exhibit:
    texts = [Paragraph(text) for text in (found["question"], shows, outcome) if text]
    sources = Items(tuple((f"`{name}`", source) for name, source in found["provenance"].items()))
    settings = [Section("Sources of its settings", (sources,), folded=True, media=WRITTEN)] if sources.pairs else []
    return Exhibit(key, outcome, Section(found["title"], (*texts, *shown, *settings), f"exhibit-{key}"), found)
