"""Every kind of network, optimizer, schedule, augmentation step and part of a path: to add one, add its line here.

A name is `module:object` and is imported when a config first asks for it, so that `lmc --help` and `lmc check` load no
torch. docs/extending.md has an example of each kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticCustomError, PydanticKnownError

from lmc_repro.common.errors import LmcError


@dataclass(frozen=True)
class Kind:
    """The class of a kind's settings, in a module that imports no torch at its top, and what is built from them."""

    settings: str
    build: str


_RUN = "lmc_repro.config.run:"

MODELS: dict[str, Kind] = {  # build(config, info) -> models.base.Model
    "mlp": Kind(_RUN + "MlpConfig", "lmc_repro.models.mlp:build_mlp"),
    "local": Kind(_RUN + "LocalConfig", "lmc_repro.models.local:Local"),
    "conv": Kind(_RUN + "ConvConfig", "lmc_repro.models.conv:Conv"),
    "attention": Kind(_RUN + "AttentionConfig", "lmc_repro.models.attention:Attention"),
}
OPTIMIZERS: dict[str, Kind] = {  # build(config, like) -> training.optimizer.StackOptimizer
    "sgd": Kind(_RUN + "SgdConfig", "lmc_repro.training.optimizer:Sgd"),
    "adam": Kind(_RUN + "AdamConfig", "lmc_repro.training.optimizer:Adam"),
}
SCHEDULES: dict[str, str] = {  # (steps done since the warm-up, steps that there are after it) -> share of the rate
    "constant": "lmc_repro.training.schedule:constant",
    "cosine": "lmc_repro.training.schedule:cosine",
}
AUGMENTATIONS: dict[str, Kind] = {  # build(config, inputs float32 [N, ch, H, W], draws [N, 4] in [0, 1)) -> inputs
}
ALIGNMENTS: dict[str, str] = {  # barriers.alignment.Alignment
    "none": "lmc_repro.barriers.alignment:none",
    "weights": "lmc_repro.barriers.matching:weight_matching",
    "activations": "lmc_repro.barriers.matching:activation_matching",
}
REPAIRS: dict[str, str] = {  # barriers.repair.Repair
    "none": "lmc_repro.barriers.repair:none",
    "repair": "lmc_repro.barriers.repair:repair",
}
PATH_METRICS: dict[str, str] = {  # training.evaluate.PathMetric
}


@cache
def find(name: str) -> Any:
    """Return the object `module:object`; LmcError if it is not there."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LmcError(f"{name}: {error}; correct its line in lmc_repro/config/registry.py, or the file") from None


def settings_class(table: Mapping[str, Kind], kind: str) -> type[BaseModel]:
    """Return the class of a kind's settings."""
    name, early = table[kind].settings, "torch" not in sys.modules
    found: type[BaseModel] = find(name)
    if early and "torch" in sys.modules:
        raise LmcError(
            f"{name}: its module imports torch, but params.yaml is read before the numerics mode is set; import torch "
            "inside functions there, and under TYPE_CHECKING"
        )
    return found


def chosen(table: Mapping[str, Kind]) -> Callable[[Any], Any]:
    """Return what turns a mapping with a `kind` into that kind's settings; for pydantic's BeforeValidator."""

    def choose(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind")
        names = ", ".join(repr(name) for name in table)
        if kind is None:
            raise PydanticCustomError("kind_missing", "missing", {"allowed": names})
        if not isinstance(kind, str) or kind not in table:
            raise PydanticKnownError(
                "union_tag_invalid", {"discriminator": "'kind'", "tag": str(kind), "expected_tags": names}
            )
        return settings_class(table, kind).model_validate(value)

    return choose


def named(table: Iterable[str]) -> Callable[[str], str]:
    """Return what refuses a name that is not in the table; for pydantic's AfterValidator."""

    def check(name: str) -> str:
        *others, last = (repr(known) for known in table)
        if name not in table:
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticKnownError("literal_error", {"expected": expected})
        return name

    return check
