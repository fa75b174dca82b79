"""From a model config to the network."""

from __future__ import annotations

from collections.abc import Callable

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.models.base import Model
from lmc_repro.models.mlp import Mlp
from lmc_repro.schemas.model import ModelConfig

MODELS: dict[str, Callable[[ModelConfig, DatasetInfo], Model]] = {
    "mlp": lambda config, info: Mlp(config, info.features, info.classes),
}


def build_model(config: ModelConfig, info: DatasetInfo) -> Model:
    """Return the network of `config` for the shape and classes of a data set."""
    return MODELS[config.kind](config, info)
