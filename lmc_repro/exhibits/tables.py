"""Table 3, parameter counts of networks from their configs alone; Table 4, test accuracies of a study's networks."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from lmc_repro.common.errors import LmcError, choices
from lmc_repro.common.words import counted
from lmc_repro.config.catalog import CATALOG, DatasetInfo, dataset_info
from lmc_repro.config.exhibit import AccuraciesExhibit, ParametersExhibit
from lmc_repro.config.expand import plan_study
from lmc_repro.config.own_code import short_name
from lmc_repro.config.params import Params
from lmc_repro.config.reported import reported_part
from lmc_repro.config.run import ModelConfig, RunConfig
from lmc_repro.report.agreement import NOT_COUNTED, PAPER_EPOCHS
from lmc_repro.report.contents import Shown
from lmc_repro.report.grid import NONE, NOT_RUN, points
from lmc_repro.report.model import Table
from lmc_repro.results.schema import CellRecord, StudyResults

FAILED = "*"
"""The paper's sign for no accuracy; ours where every run diverged. The paper prints accuracies near chance."""


def count_parameters(exhibit: ParametersExhibit, params: Params, where: str) -> dict[str, Any]:
    """Return the counts of the exhibit's networks beside the paper's millions, and those of a study's networks."""
    info = dataset_info(exhibit.dataset)
    networks = []
    for key, network in exhibit.networks.items():
        numbers = {"parameters": _count(network.model, info), "paper_millions": printed_millions(exhibit, key, where)}
        networks.append({"key": key, "label": network.label, **numbers})
    study = {"key": exhibit.study, "networks": _networks_of(exhibit.study, params)} if exhibit.study else None
    return {"dataset": _dataset(info), "networks": networks, "study": study}


def printed_millions(exhibit: ParametersExhibit, key: str, where: str) -> float | None:
    """Return the paper's count of a network, in millions; None if the exhibit is compared with no table.

    Raises:
        LmcError: The paper does not print it; begins with `where`.
    """
    place, name = f"{where}.networks.{key}", exhibit.networks[key].reported
    if (name is None) != (exhibit.reported is None):
        raise LmcError(f"{place}: reported: give it here and in the exhibit, or in neither")
    if name is None or exhibit.reported is None:
        return None
    counts = reported_part(place, exhibit.reported, "millions")
    if name not in counts:
        raise LmcError(f"{place}: reported: {choices(name, counts)}")
    return float(counts[name])


def show_parameters(found: dict[str, Any]) -> Shown:
    """Return the counts beside the paper's millions, and those of the profile's own networks."""
    networks, data = found["networks"], found["dataset"]
    counts = [(n["label"], n["parameters"], points(n["paper_millions"])) for n in networks]
    rows = tuple((label, f"{count:,}", f"{count / 1e6:.2f}", paper) for label, count, paper in counts)
    printed = [row for row in rows if row[-1] != NONE]
    other = [f"{name} ({ours}, paper {paper})" for name, _, ours, paper in printed if ours != paper]
    but = f"; not {', '.join(other)}" if other else ""
    outcome = f"Rounded as the paper prints them, {len(printed) - len(other)} of {len(printed)} are the paper's{but}."
    shape = f"{data['title']}'s images ({' x '.join(map(str, data['shape']))}, {data['classes']} classes)"
    shows = f"Trainable parameters of 2-layer networks for {shape}, counted from configs as they are trained."
    tables = [Table("Parameters", ("network", "parameters", "millions", "paper, millions"), rows)]
    if study := found["study"]:
        own = tuple((n["label"], n["dataset"]["title"], f"{n['parameters']:,}") for n in study["networks"])
        caption = f"Networks of {study['key']} under profile {found['profile']}"
        tables.append(Table(caption, ("network", "data set", "parameters"), own))
    return outcome, shows, tuple(tables)


def _networks_of(study: str, params: Params) -> list[dict[str, Any]]:
    """Return the count of each of a study's networks on each of its data sets, controls left out."""
    plan = plan_study(params, study)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in plan.cells:
        place = (cell.row, cell.config["data"]["dataset"])
        if place not in found and plan.study_config.rows[cell.row].varies is None:
            config = RunConfig.model_validate({**cell.config, "seeds": cell.runs[0].seeds})
            info = dataset_info(config.data.dataset)
            count = _count(config.model, info)
            found[place] = {"label": cell.row_label, "dataset": _dataset(info), "parameters": count}
    return list(found.values())


def _count(model: ModelConfig, info: DatasetInfo) -> int:
    from lmc_repro.models.base import count_parameters as count  # torch, which `lmc check` does without
    from lmc_repro.models.registry import build_model

    return count(build_model(model, info))


def _dataset(info: DatasetInfo) -> dict[str, Any]:
    return {"name": info.name, "title": info.title, "shape": list(info.shape), "classes": info.classes}


def collect_accuracies(exhibit: AccuraciesExhibit, study: StudyResults, where: str) -> dict[str, Any]:
    """Return the table's places, row by row, from the results of its study."""
    runs = {(cell.column, cell.row): _accuracies(cell, study) for cell in study.cells}
    # A cell's own labels, which a profile may have renamed, come first.
    rows = {axis.key: axis.label for axis in study.columns} | {cell.column: cell.column_label for cell in study.cells}
    columns = {axis.key: axis.label for axis in study.rows} | {cell.row: cell.row_label for cell in study.cells}
    places = []
    for row, paper_row in exhibit.rows.items():
        for column, paper_column in exhibit.columns.items():
            ours = {"run": runs.get((row, column)), "not_run": study.not_run.get(f"{column}--{row}")}
            paper = printed_accuracy(exhibit, paper_row, paper_column, where)
            places.append({"row": row, "column": column, "paper": paper, **ours})
    return {
        "profile": study.profile,  # that of the results, which may differ from the active one
        "analogue": study.analogue,
        "study": exhibit.study,
        "rows": [{"key": key, "label": rows.get(key, key), "paper": name} for key, name in exhibit.rows.items()],
        "columns": [{"key": k, "label": columns.get(k, k), "paper": name} for k, name in exhibit.columns.items()],
        "places": places,
    }


def printed_accuracy(exhibit: AccuraciesExhibit, row: str, column: str, where: str) -> float | None:
    """Return the test accuracy that the paper prints, in percent; None where it prints "*".

    Raises:
        LmcError: The paper does not have the row or column; begins with `where`.
    """
    rows, columns = (reported_part(where, exhibit.reported, part) for part in ("rows", "columns"))
    for name, found, allowed in (("rows", row, rows), ("columns", column, columns)):
        if found not in allowed:
            raise LmcError(f"{where}.{name}: {choices(found, allowed)}")
    if not isinstance(rows[row], list):
        table = exhibit.reported
        raise LmcError(f"{where}: reported: found {table!r}, which holds barriers, not accuracies; use table4")
    value = rows[row][columns.index(column)]
    return None if value is None else float(value)


def show_accuracies(found: dict[str, Any]) -> Shown:
    """Return the table in the paper's arrangement, ours above the paper's, and how far apart they are."""
    rows: list[tuple[str, ...]] = []
    for row in found["rows"]:
        line = [place for place in found["places"] if place["row"] == row["key"]]
        title = CATALOG[row["paper"]].title if row["paper"] in CATALOG else row["paper"]
        rows.append((row["label"], *(_ours(place["run"]) for place in line)))
        rows.append((f"paper, {title}", *(FAILED if p["paper"] is None else points(p["paper"]) for p in line)))
    shows = (
        f"Test accuracy in percent at the last epoch of {found['study']}'s networks: mean over all runs that did not "
        f"diverge, range, number of runs; {FAILED} where every run diverged, as we read the paper's mark."
    )
    if reasons := dict.fromkeys(place["not_run"] for place in found["places"] if place["not_run"]):
        shows += f" Not run: {'; '.join(reasons)}."
    header = ("test accuracy, %", *(column["label"] for column in found["columns"]))
    return _agreement(found), shows, (Table("Ours, and below it the paper's", header, tuple(rows)),)


def _accuracies(cell: CellRecord, study: StudyResults) -> dict[str, Any]:
    """Return a cell's accuracies in percent. A diverged run has none: its guesses are no accuracy."""
    status = {run: end for pair in cell.pairs for run, end in zip(pair.fingerprints, pair.status, strict=True)}
    errors = {run.fingerprint: run.test_error for run in study.runs}
    trained = [errors.get(run) for run, end in status.items() if end != "diverged"]
    values = [100.0 * (1.0 - error) for error in trained if error is not None]
    if len(values) < len(trained):
        fix = f"run `lmc compare {study.study}`"
        raise LmcError(f"results/{study.study}/runs.json: test_error of a run of cell {cell.key}: missing; {fix}")
    counts = Counter(status.values())
    return {
        "dataset": short_name(cell.config["data"]["dataset"]),
        "epochs": cell.config["epochs"],
        "n_runs": len(status),
        "diverged": counts["diverged"],
        "collapsed": counts["collapsed"],
        "values": [round(value, 6) for value in values],
        "mean": statistics.fmean(values) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
    }


def _ours(run: dict[str, Any] | None) -> str:
    if run is None:
        return NOT_RUN
    parts = []
    if run["mean"] is not None:
        parts.append(f"{points(run['mean'])} ({points(run['min'])}-{points(run['max'])}), n {len(run['values'])}")
    if lost := [f"{run[why]} {why}" for why in ("diverged", "collapsed") if run[why]]:
        parts.append(f"of {run['n_runs']} runs {' and '.join(lost)}")
    return f"{FAILED} {'; '.join(parts)}" if _failed(run) else "; ".join(parts)


def _failed(run: dict[str, Any]) -> bool:
    return bool(run["diverged"] == run["n_runs"])


def _agreement(found: dict[str, Any]) -> str:
    """Return how ours compare with the paper's where data set and epochs are its own; never one percentage."""
    if found["analogue"]:
        return NOT_COUNTED
    names = {row["key"]: row["paper"] for row in found["rows"]}
    known = [
        (place["paper"], run)
        for place in found["places"]
        if (run := place["run"]) and (run["dataset"], run["epochs"]) == (names[place["row"]], PAPER_EPOCHS)
    ]
    if not known:
        return "No network has the paper's data set and epochs: no agreement is counted."
    marked = [_failed(run) for paper, run in known if paper is None]
    printed = [_failed(run) for paper, run in known if paper is not None]
    apart = [abs(run["mean"] - paper) for paper, run in known if None not in (paper, run["mean"])]
    said = []
    if marked:
        places = counted(len(marked), "place")
        said.append(f"of {places} that the paper marks {FAILED} ours are {sum(marked)} {FAILED}")
    if printed:
        near = f", {sum(distance <= 1.0 for distance in apart)} within 1 point, the farthest "
        far = f"{near}{points(max(apart))} points away" if apart else ""
        said.append(f"of {len(printed)} printed accuracies ours are {sum(printed)} {FAILED}{far}")
    return f"Agreement with the paper: {'; '.join(said)}."
