"""Counts the parameters of networks from their configs alone (paper, Table 3 and Appendix D)."""

from __future__ import annotations

from typing import Any

from lmc_repro.data.catalog import DatasetInfo, dataset_info
from lmc_repro.exhibits.paper import printed_millions
from lmc_repro.models.base import count_parameters
from lmc_repro.models.registry import build_model
from lmc_repro.schemas.exhibit import ParametersExhibit
from lmc_repro.schemas.params import Params
from lmc_repro.schemas.run import RunConfig
from lmc_repro.studies.expand import plan_study


def parameters(exhibit: ParametersExhibit, params: Params, where: str) -> dict[str, Any]:
    """Return the counts of the exhibit's networks beside the paper's millions, and those of a study's networks."""
    info = dataset_info(exhibit.dataset)
    networks = []
    for key, network in exhibit.networks.items():
        printed = None
        if exhibit.reported is not None and network.reported is not None:
            printed = printed_millions(f"{where}.networks.{key}", exhibit.reported, network.reported)
        count = count_parameters(build_model(network.model, info))
        networks.append({"key": key, "label": network.label, "parameters": count, "paper_millions": printed})
    study = None
    if exhibit.study is not None:
        study = {"key": exhibit.study, "networks": _networks_of(exhibit.study, params)}
    return {"dataset": _dataset(info), "networks": networks, "study": study}


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
        count = count_parameters(build_model(config.model, info))
        found[place] = {"label": cell.row_label, "dataset": _dataset(info), "parameters": count}
    return list(found.values())


def _dataset(info: DatasetInfo) -> dict[str, Any]:
    return {"name": info.name, "title": info.title, "shape": list(info.shape), "classes": info.classes}
