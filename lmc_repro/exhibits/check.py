"""Resolves every exhibit under the active profile, so that a mistake shows before any work is done."""

from __future__ import annotations

from lmc_repro.data.catalog import CATALOG
from lmc_repro.errors import LmcError
from lmc_repro.exhibits.paper import printed_accuracy, printed_millions
from lmc_repro.schemas.exhibit import AccuraciesExhibit, BatchesExhibit, ParametersExhibit
from lmc_repro.schemas.params import Params


def check_exhibits(params: Params) -> None:
    """LmcError, one line, for an exhibit whose data set or whose name in the paper does not exist."""
    for key, exhibit in params.exhibits.items():
        where = f"params.yaml: exhibits.{key}"
        if isinstance(exhibit, ParametersExhibit):
            _known(exhibit.dataset, where)
            for name, network in exhibit.networks.items():
                place = f"{where}.networks.{name}"
                if (network.reported is None) != (exhibit.reported is None):
                    raise LmcError(f"{place}: reported: give it here and in the exhibit, or in neither")
                if network.reported is not None and exhibit.reported is not None:
                    printed_millions(place, exhibit.reported, network.reported)
        elif isinstance(exhibit, BatchesExhibit):
            dataset = shown_dataset(exhibit, params)
            _known(dataset, where)
            if dataset not in params.profiles[params.profile].datasets:
                raise LmcError(f"{where}: data set {dataset!r} is not in profiles.{params.profile}.datasets; add it")
            if dataset not in exhibit.augment:
                found = ", ".join(exhibit.augment)
                raise LmcError(f"{where}.augment: found {found}, but profile {params.profile} draws {dataset}; add it")
        elif isinstance(exhibit, AccuraciesExhibit):
            for row in exhibit.rows.values():
                for column in exhibit.columns.values():
                    printed_accuracy(where, exhibit.reported, row, column)


def shown_dataset(exhibit: BatchesExhibit, params: Params) -> str:
    """Return the data set whose batches are drawn under the active profile."""
    return params.profiles[params.profile].replace_dataset or exhibit.dataset


def _known(dataset: str, where: str) -> None:
    if dataset not in CATALOG:
        raise LmcError(f"{where}: dataset: found {dataset!r}, allowed: {', '.join(CATALOG)}")
