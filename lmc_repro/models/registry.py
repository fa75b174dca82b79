"""From a model config to the network."""

from __future__ import annotations

from typing import cast

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.models.base import Model
from lmc_repro.schemas.registry import MODELS, find
from lmc_repro.schemas.run import ModelConfig


def build_model(config: ModelConfig, info: DatasetInfo) -> Model:
    """Return the network of `config` for the shape and classes of a data set; LmcError if they do not fit."""
    return cast(Model, find(MODELS[config.kind].build)(config, info))
