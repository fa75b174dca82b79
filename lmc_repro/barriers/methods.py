"""Alignment, repair and metrics of a path, of the package or of one's own, with checks of their results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lmc_repro.barriers.alignment import Alignment, require_groups
from lmc_repro.barriers.alignment import none as as_it_is
from lmc_repro.barriers.metrics import LayerMetric
from lmc_repro.barriers.repair import Repair
from lmc_repro.barriers.repair import none as unrepaired
from lmc_repro.barriers.results import DIFFERENT
from lmc_repro.common.errors import LmcError, choices, own_code
from lmc_repro.config.own_code import is_own, short_name
from lmc_repro.config.path import LayersConfig, PathConfig
from lmc_repro.config.registry import ALIGNMENTS, PATH_METRICS, REPAIRS, named_object
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Model, Weights
from lmc_repro.training.evaluate import PathMetric, predict
from lmc_repro.training.stack import Layout

_TAKEN = ("study", "cell", "pair", "epoch", "split", "alpha", "wrong", "n", "loss", "error", "excess")
"""Names of columns and curves that are there on any path."""


@dataclass(frozen=True)
class PathMethods:
    """Alignment, repair, metrics and moving layers of a path; errors name the first two by the names given here."""

    align: Alignment = as_it_is
    repair: Repair = unrepaired
    metrics: tuple[PathMetric | LayerMetric, ...] = ()
    align_name: str = "align"
    repair_name: str = "repair"
    layers: LayersConfig | None = None

    def aligned(self, model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
        """Return theta_1 aligned.

        Raises:
            LmcError: It is no longer the same function: a prediction of more than one test image in 1000 changes.
        """
        if self.align is as_it_is:
            return theta_1
        _require_axes(self.align_name, model)
        layout = Layout(model)
        stack = layout.stack([dict(theta_0), dict(theta_1)])
        moved: Weights = own_code(
            self.align_name, lambda: self.align(model, layout.run(stack, 0), layout.run(stack, 1), dataset, seed)
        )
        _check_weights(self.align_name, model, moved)
        views = layout.views(layout.stack([dict(theta_1), dict(moved)]).to(dataset.train.images.device))
        before, after = predict(model, views, dataset.test, dataset.info)
        if (changed := int((before != after).sum())) > DIFFERENT * len(dataset.test):
            raise LmcError(
                f"{self.align_name}: {changed} of {len(dataset.test)} test images are predicted differently after it; "
                "an alignment must keep the network's function"
            )
        return moved

    def repaired(
        self, model: Model, ends: tuple[Weights, Weights], dataset: Dataset
    ) -> Callable[[Weights], dict[str, Tensor]]:
        """Return the function from an inner point's weights to the repaired ones."""
        moved = own_code(self.repair_name, lambda: self.repair(model, ends, dataset))
        if not callable(moved):
            raise LmcError(f"{self.repair_name}: returned a {type(moved).__name__}, expected a function of a point")

        def repaired(theta_alpha: Weights) -> dict[str, Tensor]:
            made = own_code(self.repair_name, lambda: moved(theta_alpha))
            _check_weights(self.repair_name, model, made)
            return dict(made)

        return repaired

    @property
    def repairs(self) -> bool:
        """Whether inner points differ from the line."""
        return self.repair is not unrepaired


def path_methods(config: PathConfig) -> PathMethods:
    """Return the methods that a config names; LmcError for an object of another kind."""
    return given_methods(config.align, config.repair, config.metrics, config.layers)


def given_methods(
    align: Alignment | str,
    repair: Repair | str,
    metrics: Iterable[PathMetric | LayerMetric | str],
    layers: LayersConfig | None = None,
) -> PathMethods:
    """Return methods, each given as an object or its name; LmcError for an unknown name or another kind of object."""
    align_name, aligned = _method("align", ALIGNMENTS, align)
    repair_name, repaired = _method("repair", REPAIRS, repair)
    for name, found in ((align_name, aligned), (repair_name, repaired)):
        if not callable(found):
            raise LmcError(f"{name}: is a {type(found).__name__}, expected a function")
    known: dict[str, PathMetric | LayerMetric] = {}
    for name, metric in (_method("metrics", PATH_METRICS, each) for each in metrics):
        if not isinstance(metric, PathMetric | LayerMetric):
            raise LmcError(f"{name}: is a {type(metric).__name__}, expected a PathMetric")
        if metric.name in (*_TAKEN, *known) or not re.fullmatch(r"[A-Za-z]\w*", metric.name, re.ASCII):
            raise LmcError(
                f"{name}: its name is {metric.name!r}, allowed: letters, digits and _, and none of "
                f"{', '.join((*_TAKEN, *known))}"
            )
        known[metric.name] = metric
    return PathMethods(aligned, repaired, tuple(known.values()), align_name, repair_name, layers)


def _method(part: str, table: Mapping[str, str], given: Any) -> tuple[str, Any]:
    """Return what errors call a method, and its object; LmcError for a name neither in the table nor FILE.py:NAME."""
    if not isinstance(given, str):
        return part, given
    if given not in table and not is_own(given):
        raise LmcError(f"{part}: {choices(given, (*table, 'FILE.py:NAME'))}")
    return f"{part} {short_name(given)}", named_object(table, given)


def require_units(config: PathConfig, model: Model) -> None:
    """Raise LmcError before any training: for a method of another kind, an alignment or repair without known units."""
    path_methods(config)
    for name, given in (("align", config.align), ("repair", config.repair)):
        if given in ALIGNMENTS.keys() - {"none"} | REPAIRS.keys() - {"none"}:
            _require_axes(f"{name} {given}", model)
            require_groups(model.axes(), f"{name} {given}")


def _require_axes(name: str, model: Model) -> None:
    if not hasattr(model, "axes"):
        raise LmcError(f"{name}: this kind of network names no units to align (axes)")
    model.axes()


def _check_weights(name: str, model: Model, weights: Any) -> None:
    """Raise LmcError unless an object is weights of the network, by name."""
    if not isinstance(weights, Mapping) or set(weights) != set(model.shapes):
        found = ", ".join(map(str, weights)) if isinstance(weights, Mapping) else f"a {type(weights).__name__}"
        raise LmcError(f"{name}: returned {found}, expected weights by name: {', '.join(model.shapes)}")
    for key, shape in model.shapes.items():
        tensor = weights[key]
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
            found = f"{tensor.dtype} {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise LmcError(f"{name}: {key}: returned {found}, expected torch.float32 {list(shape)}")
