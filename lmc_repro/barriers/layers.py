"""Partial paths: the line along which some layers move and the others stay."""

from __future__ import annotations

from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.config.path import LayersConfig
from lmc_repro.models.base import Model, Weights


def layers_of(model: Model) -> list[str]:
    """Return the names of a network's layers, in the order of its weights: tensors that share all but the last part."""
    return list(dict.fromkeys(_layer(name) for name in model.shapes))


def partial_end(model: Model, theta_0: Weights, theta_1: Weights, layers: LayersConfig | None) -> dict[str, Tensor]:
    """Return the second end of a partial path: theta_1 in the layers that move, theta_0 in all others.

    Adilova et al. 2023 (arXiv 2307.06966) average some layers of two networks, and keep the others of one of them. The
    line from theta_0 to this end does so at every alpha. `ours`: barriers are Eq. 1 of this line by its own ends: the
    error of the second end counts, not that of theta_1.

    Raises:
        LmcError: There is no layer of this number.
    """
    if layers is None:
        return dict(theta_1)
    names = layers_of(model)
    ((rule, number),) = layers.model_dump(exclude_none=True).items()
    if number > len(names):
        allowed = ", ".join(f"{i} ({name})" for i, name in enumerate(names, 1))
        raise LmcError(f"layers.{rule}: found {number}, allowed: {allowed}")
    here = names[number - 1]
    moved = {"only": {here}, "up_to": set(names[:number]), "all_but": set(names) - {here}}[rule]
    return {name: (theta_1 if _layer(name) in moved else theta_0)[name] for name in model.shapes}


def _layer(weight: str) -> str:
    return weight.rpartition(".")[0] or weight
