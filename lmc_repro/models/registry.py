"""From a model config to the network, and to its name in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from lmc_repro.common.errors import own_code
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.own_code import is_own, short_name
from lmc_repro.config.registry import MODELS, build
from lmc_repro.config.run import ModelConfig
from lmc_repro.models.base import Model


def build_model(config: ModelConfig, info: DatasetInfo) -> Model:
    """Return the network of `config` for the shape and classes of a data set; LmcError if they do not fit."""
    if is_own(config.kind):
        return cast(Model, own_code(f"network {short_name(config.kind)}", lambda: build(MODELS, config, info)))
    return cast(Model, build(MODELS, config, info))


def network(model: Mapping[str, Any]) -> str:
    """Return a network's structure in words, from a model config as JSON; how it is initialised is not part of it."""
    kind = model.get("kind", "mlp")
    slope = f", slope {model.get('slope', 1.0):g}"
    if kind == "attention":
        return f"attention, patches of {_square(model['patch'])}, {model['heads']} heads of {model['head_dim']}"
    if kind == "mlp":
        width = model.get("width")
        hidden = f", width {width}{slope}" if width else ""
        return f"{model['depth']}-layer MLP{hidden}" + ("" if model.get("bias", True) else ", no biases")
    if kind not in ("conv", "local"):
        own = {name: value for name, value in model.items() if name not in ("kind", "init", "gain")}
        if kind == "module":
            kind, own = model["module"], model["options"]
        return ", ".join((short_name(str(kind)), *(f"{name} {value}" for name, value in own.items())))
    filters = f"{model['filters']} filters of {_square(model['kernel'])}{slope}"
    return f"CNN, {filters}" if kind == "conv" else f"LC-CNN, {filters}, a bias a {model.get('bias', 'unit')}"


def begins_as(model: Mapping[str, Any]) -> str | None:
    """Return the kind of network whose initial weights this one takes, None where it draws its own."""
    if model.get("start_from_conv"):
        return "the CNN"
    return "the LC-CNN" if model.get("start_from_local") else None


def _square(side: int) -> str:
    return f"{side}x{side}"
