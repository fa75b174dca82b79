"""From a model config to the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.models.attention import Attention
from lmc_repro.models.base import Model
from lmc_repro.models.conv import Conv
from lmc_repro.models.local import Local
from lmc_repro.models.mlp import Mlp
from lmc_repro.models.start import local_start
from lmc_repro.schemas.model import ModelConfig

MODELS: dict[str, Callable[[Any, DatasetInfo], Model]] = {
    "mlp": lambda config, info: Mlp(config, info.features, info.classes, local_start(config, info)),
    "local": Local,
    "conv": Conv,
    "attention": Attention,
}


def build_model(config: ModelConfig, info: DatasetInfo) -> Model:
    """Return the network of `config` for the shape and classes of a data set; LmcError if they do not fit."""
    return MODELS[config.kind](config, info)
