"""Table 3 and Appendix D: parameter counts of networks, from their configs alone."""

from __future__ import annotations

from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.config.exhibit import ParametersExhibit
from lmc_repro.config.expand import plan_study
from lmc_repro.config.params import Params
from lmc_repro.config.reported import reported_part
from lmc_repro.config.run import ModelConfig, RunConfig
from lmc_repro.report.contents import Shown
from lmc_repro.report.model import Table
from lmc_repro.report.words import points


def check(exhibit: ParametersExhibit, where: str) -> None:
    """Raise LmcError, which begins with `where`, for a network that the paper does not print."""
    for key in exhibit.networks:
        _printed(exhibit, key, where)


def make(exhibit: ParametersExhibit, params: Params, where: str) -> dict[str, Any]:
    """Return the counts of the exhibit's networks beside the paper's millions, and those of a study's networks."""
    info = dataset_info(exhibit.dataset)
    networks = [
        {
            "key": key,
            "label": network.label,
            "parameters": _count(network.model, info),
            "paper_millions": _printed(exhibit, key, where),
        }
        for key, network in exhibit.networks.items()
    ]
    study = {"key": exhibit.study, "networks": _networks_of(exhibit.study, params)} if exhibit.study else None
    return {"dataset": _dataset(info), "networks": networks, "study": study}


def show(found: dict[str, Any]) -> Shown:
    """Return the counts beside the paper's millions, and those of the profile's own networks."""
    networks, data = found["networks"], found["dataset"]
    printed = [n for n in networks if n["paper_millions"] is not None]
    other = [n for n in printed if _millions(n) != points(n["paper_millions"])]
    outcome = f"Rounded as the paper prints them, {len(printed) - len(other)} of {len(printed)} are the paper's"
    if other:
        said = (f"{n['label']} ({_millions(n)}, paper {points(n['paper_millions'])})" for n in other)
        outcome += f"; not {', '.join(said)}"
    shape = f"{data['title']}'s images ({' x '.join(map(str, data['shape']))}, {data['classes']} classes)"
    shows = f"Trainable parameters of 2-layer networks for {shape}, counted from configs as they are trained."
    rows = tuple((n["label"], f"{n['parameters']:,}", _millions(n), points(n["paper_millions"])) for n in networks)
    tables = [Table("Parameters", ("network", "parameters", "millions", "paper, millions"), rows)]
    if study := found["study"]:
        own = tuple((n["label"], n["dataset"]["title"], f"{n['parameters']:,}") for n in study["networks"])
        caption = f"Networks of {study['key']} under profile {found['profile']}"
        tables.append(Table(caption, ("network", "data set", "parameters"), own))
    return f"{outcome}.", shows, tuple(tables)


def _printed(exhibit: ParametersExhibit, key: str, where: str) -> float | None:
    """Return what the paper prints of a network, in millions; None if the exhibit is compared with no table."""
    place, name = f"{where}.networks.{key}", exhibit.networks[key].reported
    if (name is None) != (exhibit.reported is None):
        raise LmcError(f"{place}: reported: give it here and in the exhibit, or in neither")
    if name is None or exhibit.reported is None:
        return None
    counts = reported_part(place, exhibit.reported, "millions")
    if name not in counts:
        raise LmcError(f"{place}: reported: found {name!r}, allowed: {', '.join(counts)}")
    return float(counts[name])


def _networks_of(study: str, params: Params) -> list[dict[str, Any]]:
    """Return the count of each of a study's networks on each of its data sets, controls left out."""
    plan = plan_study(params, study)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in plan.cells:
        place = (cell.row, cell.config["data"]["dataset"])
        if place in found or plan.study_config.rows[cell.row].varies is not None:
            continue
        config = RunConfig.model_validate({**cell.config, "seeds": cell.runs[0].seeds})
        info = dataset_info(config.data.dataset)
        count = _count(config.model, info)
        found[place] = {"label": cell.row_label, "dataset": _dataset(info), "parameters": count}
    return list(found.values())


def _count(model: ModelConfig, info: DatasetInfo) -> int:
    from lmc_repro.models.base import count_parameters  # torch, which `lmc check` does without
    from lmc_repro.models.registry import build_model

    return count_parameters(build_model(model, info))


def _dataset(info: DatasetInfo) -> dict[str, Any]:
    return {"name": info.name, "title": info.title, "shape": list(info.shape), "classes": info.classes}


def _millions(network: dict[str, Any]) -> str:
    return f"{network['parameters'] / 1e6:.2f}"
