"""Every kind of network, optimizer, schedule, augmentation step, pair and part of a path; one's own are FILE.py:NAME.

A name of the tables is `module:object` and is imported when a config first asks for it, so that `lmc --help` and `lmc
check` load no torch. docs/extending.md has an example of each kind of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ValidationInfo
from pydantic_core import PydanticCustomError, PydanticKnownError, to_json

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.config.own_code import STORED, is_own, own_object, pin, short_name


@dataclass(frozen=True)
class Kind:
    """The class of a kind's settings, in a module that imports no torch at its top, and what is built from them.

    An object of one's own is both: it is called with the settings, and its `Config` is their class.
    """

    settings: str
    build: str


_RUN = "lmc_repro.config.run:"

MODELS: dict[str, Kind] = {  # build(config, info) -> models.base.Model
    "mlp": Kind(_RUN + "MlpConfig", "lmc_repro.models.mlp:build_mlp"),
    "local": Kind(_RUN + "LocalConfig", "lmc_repro.models.local:Local"),
    "conv": Kind(_RUN + "ConvConfig", "lmc_repro.models.conv:Conv"),
    "attention": Kind(_RUN + "AttentionConfig", "lmc_repro.models.attention:Attention"),
    "module": Kind(_RUN + "ModuleConfig", "lmc_repro.models.module:Module"),
}
OPTIMIZERS: dict[str, Kind] = {  # build(config, like) -> training.optimizer.StackOptimizer
    "sgd": Kind(_RUN + "SgdConfig", "lmc_repro.training.optimizer:Sgd"),
    "adam": Kind(_RUN + "AdamConfig", "lmc_repro.training.optimizer:Adam"),
    "adamw": Kind(_RUN + "AdamWConfig", "lmc_repro.training.optimizer:AdamW"),
    "muon": Kind(_RUN + "MuonConfig", "lmc_repro.training.optimizer:Muon"),
    "sam": Kind(_RUN + "SamConfig", "lmc_repro.training.optimizer:Sam"),
}
SCHEDULES: dict[str, str] = {  # (steps done since the warm-up, steps that there are after it) -> share of the rate
    "constant": "lmc_repro.training.schedule:constant",
    "cosine": "lmc_repro.training.schedule:cosine",
}
AUGMENTATIONS: dict[str, Kind] = {  # build(config) -> step(inputs float32 [N, ch, H, W], draws [N, 4] in [0, 1))
}
PAIR_KINDS: dict[str, str] = {  # config.pairs.PairKind
    "noise": "lmc_repro.config.pairs:noise",
    "init": "lmc_repro.config.pairs:init",
    "order": "lmc_repro.config.pairs:order",
    "augmentation": "lmc_repro.config.pairs:augmentation",
    "spawn": "lmc_repro.config.pairs:spawn",
    "snapshots": "lmc_repro.config.pairs:snapshots",
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
PATH_METRICS: dict[str, str] = {  # training.evaluate.PathMetric, barriers.metrics.LayerMetric
    "margin": "lmc_repro.barriers.metrics:margin",
    "ece": "lmc_repro.barriers.metrics:ece",
    "ensemble_error": "lmc_repro.barriers.metrics:ensemble_error",
    "calibrated_loss": "lmc_repro.barriers.metrics:calibrated_loss",
    "variance_ratio": "lmc_repro.barriers.metrics:variance_ratio",
    "llfc": "lmc_repro.barriers.metrics:llfc",
}


@cache
def find(name: str) -> Any:
    """Return the object `module:object`; LmcError if it is not there."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LmcError(f"{name}: {error}; correct its line in lmc_repro/config/registry.py, or the file") from None


def named_object(table: Mapping[str, str], name: str) -> Any:
    """Return the object that a name stands for: of the table, or of one's own."""
    return own_object(name) if is_own(name) else find(table[name])


def build(table: Mapping[str, Kind], settings: Any, *more: Any) -> Any:
    """Build the object of a kind, of the table or of one's own, from its settings and `more`.

    Raises:
        LmcError: If a file of one's own is missing or has other content than its pin.
    """
    kind: str = settings.kind
    if not is_own(kind):
        return find(table[kind].build)(settings, *more)
    config = own_code(short_name(kind), lambda: _as_json(settings_class(table, kind), settings))
    return own_object(kind)(config, *more)


def settings_class(table: Mapping[str, Kind], kind: str) -> type[BaseModel]:
    """Return the class of a kind's settings; LmcError for an object of one's own that has none."""
    found = getattr(own_object(kind), "Config", None) if is_own(kind) else find(table[kind].settings)
    if not (isinstance(found, type) and issubclass(found, BaseModel) and "kind" in found.model_fields):
        raise LmcError(f"{short_name(kind)}: has no class Config of its settings; docs/extending.md shows one")
    return found


def chosen(table: Mapping[str, Kind], own: type[BaseModel]) -> Callable[[Any, ValidationInfo], Any]:
    """Return a function from a mapping with a `kind` to that kind's settings; for pydantic's BeforeValidator.

    Args:
        table: The kinds of the package.
        own: The class that holds the settings of any kind of one's own, after its `Config` has checked them.
    """

    def choose(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind")
        names = ", ".join((*map(repr, table), "FILE.py:NAME"))
        if kind is None:
            raise PydanticCustomError("kind_missing", "missing", {"allowed": names})
        if isinstance(kind, str) and is_own(kind):
            return own.model_validate(_checked({**value, "kind": pin(kind, info)}, info))
        if not isinstance(kind, str) or kind not in table:
            raise PydanticKnownError(
                "union_tag_invalid", {"discriminator": "'kind'", "tag": str(kind), "expected_tags": names}
            )
        return settings_class(table, kind).model_validate(value, context=info.context)

    def _checked(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if info.context is STORED:
            return value
        try:
            config = settings_class(table, value["kind"])
        except LmcError as error:
            raise ValueError(str(error)) from None
        return _as_json(config, value).model_dump(mode="json")

    return choose


def _as_json(config: type[BaseModel], values: Any) -> BaseModel:
    """Return the settings that JSON values make; a list of a file is a tuple, too."""
    return config.model_validate_json(to_json(values))


def named(table: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a check that refuses names neither in the table nor FILE.py:NAME; for pydantic's AfterValidator."""

    def check(name: str) -> str:
        if name not in table and not is_own(name):
            raise PydanticKnownError("literal_error", {"expected": ", ".join((*map(repr, table), "FILE.py:NAME"))})
        return name

    return check
