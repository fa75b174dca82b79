"""Groups of interchangeable units of any torch module: derived from its labels, or as its `axes` says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.models.base import Axes, Place
from lmc_repro.models.batchnorm import running_norms, statistic
from lmc_repro.models.labels import FIX, Trace, traced


@dataclass(frozen=True)
class Site:
    """A layer that puts out units: along `side` of its outputs lie those of each group, at columns [units, k]."""

    layer: str
    side: int
    columns: Mapping[str, Tensor]


@dataclass(frozen=True)
class Units:
    """The groups of a module, and the layers that put their units out, in the order of the forward pass.

    `statistics` are the places in BatchNorm's running statistics, which move with the units but are no weights.
    """

    axes: Axes
    statistics: Axes
    sites: tuple[Site, ...]


def units_of(net: nn.Module, inputs: Tensor, name: str) -> Units:
    """Return the units that a module names in its `axes`, or those that are derived from a forward pass.

    `axes`, an attribute or a method, holds for each group its weights with the side along which the units lie,
    `{"hidden": {"fc1.weight": 0, "fc1.bias": 0, "fc2.weight": 1}}`, or a list of `Place` where they lie otherwise.

    Args:
        net: The module, in evaluation mode.
        inputs: A few inputs [b, ...].
        name: The module's name in errors.

    Raises:
        LmcError: Neither is possible; names the layer, or the group and the weight.
    """
    spec = getattr(net, "axes", None)
    if spec is None:
        return _Groups(net, traced(net, inputs, name)).units()
    axes = _written(net, own_code(f"{name}: axes", spec) if callable(spec) else spec, f"{name}: axes")
    columns: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for group, places in axes.items():
        for place in places:
            shape = net.get_parameter(place.weight).shape
            if prod(place.shape[: place.side + 1]) <= shape[0]:  # along the first side: the outputs of a layer
                rows = torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)).expand(shape)
                found = place.part(rows.contiguous()).movedim(place.free_side, 0).reshape(place.units, -1)
                columns[place.weight.rpartition(".")[0]][group] = torch.tensor(
                    [sorted(set(row)) for row in found.tolist()]
                )
    sites = []
    statistics: dict[str, tuple[Place, ...]] = {group: () for group in axes}
    for layer, here in columns.items():
        module = net.get_submodule(layer)
        sites.append(Site(layer, 1 if isinstance(module, _ConvNd | _BatchNorm) else -1, here))
        if layer in running_norms(net):
            for group in here:
                like = next(place for place in axes[group] if place.weight.rpartition(".")[0] == layer)
                of_layer = (replace(like, weight=statistic(layer, key)) for key in ("running_mean", "running_var"))
                statistics[group] += tuple(of_layer)
    return Units(axes, statistics, tuple(sites))


@contextmanager
def collected(net: nn.Module, units: Units) -> Iterator[dict[str, Tensor]]:
    """Collect outputs [samples, units] of each group while a module runs; positions, and layers, are samples."""
    found: dict[str, list[Tensor]] = {}
    handles = []
    for site in units.sites:

        def see(module: nn.Module, args: Any, output: Tensor, site: Site = site) -> None:
            rows = output.movedim(site.side, -1).flatten(0, -2)
            most = max(columns.shape[1] for columns in site.columns.values())  # as many samples of each group
            for group, columns in site.columns.items():
                places = columns.to(rows.device).T
                found.setdefault(group, []).extend(rows[:, places[i % len(places)]] for i in range(most))

        handles.append(net.get_submodule(site.layer).register_forward_hook(see))
    joined: dict[str, Tensor] = {}
    try:
        yield joined
    finally:
        for handle in handles:
            handle.remove()
    joined |= {group: torch.cat(parts) for group, parts in found.items()}


def _written(net: nn.Module, spec: Any, name: str) -> dict[str, tuple[Place, ...]]:
    """Return the groups that a module's own `axes` holds; LmcError for a weight or a side that is not there."""
    shapes = {key: tuple(parameter.shape) for key, parameter in net.named_parameters()}
    if not isinstance(spec, Mapping) or not all(isinstance(places, Mapping | Sequence) for places in spec.values()):
        raise LmcError(f"{name}: found a {type(spec).__name__}, allowed: {{group: {{weight: side, ...}}, ...}}")
    axes = {}
    for group, given in spec.items():
        if isinstance(given, Mapping):
            given = [Place(weight, shapes.get(weight, ()), side) for weight, side in given.items()]
        for place in given:
            if not isinstance(place, Place):
                raise LmcError(f"{name}: {group}: found a {type(place).__name__}, allowed: a Place, or weight: side")
            if place.weight not in shapes:
                raise LmcError(f"{name}: {group}: found {place.weight!r}, allowed: {', '.join(shapes)}")
            shape = shapes[place.weight]
            if prod(place.shape) != prod(shape) or not 0 <= place.side < len(place.shape):
                raise LmcError(
                    f"{name}: {group}: {place.weight} is {list(shape)}: found side {place.side} of {list(place.shape)}"
                )
        sizes = {place.weight: place.units for place in given}
        if len(set(sizes.values())) != 1:
            raise LmcError(f"{name}: {group}: found {sizes} units, expected as many in each of its weights")
        axes[str(group)] = tuple(given)
    return axes


@dataclass
class _Unit:
    """A unit: in each parameter the numbers along one side that are its own, and the operations that see it."""

    slots: dict[tuple[str, str, int], list[int]] = field(default_factory=dict)
    marks: dict[object, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for units that may change places."""
        return tuple((*key, len(at)) for key, at in self.slots.items()), frozenset(self.marks.items())


class _Groups:
    """Units of a trace that may change places with one another."""

    def __init__(self, net: nn.Module, trace: Trace) -> None:
        self.net, self.trace = net, trace
        self.found: dict[int, _Unit] = defaultdict(_Unit)
        for label, marks in trace.marks.items():
            for operation, count in marks:
                self.found[trace.root(label)].marks[operation] += count
        for (name, role), held in trace.held.items():
            self._lay(name, role, trace.roots(held)[1:].view(trace.shapes[name]))
        kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for root in sorted(self.found):
            if root and self.found[root].slots:
                kinds[self.found[root].kind].append(root)
        groups = sorted(roots for roots in kinds.values() if len(roots) > 1)
        self.groups = dict(zip(self._names(groups), groups, strict=True))

    def units(self) -> Units:
        """Return the groups and the layers that put them out."""
        axes = self._with_heads({name: self._places(roots, name) for name, roots in self.groups.items()})
        weights = dict(self.net.named_parameters())
        of_weights, of_buffers = (
            {
                name: tuple(place for place in places if (place.weight in weights) is wanted)
                for name, places in axes.items()
            }
            for wanted in (True, False)
        )
        return Units(of_weights, of_buffers, self._sites())

    def _lay(self, name: str, role: str, units: Tensor) -> None:
        """Note where the units lie in a parameter, along the one side on which they depend."""
        for side in range(units.ndim):
            line = units.amax([other for other in range(units.ndim) if other != side]) if units.ndim > 1 else units
            shape = [-1 if other == side else 1 for other in range(units.ndim)]
            if torch.equal(line.view(shape).expand_as(units), units):
                for at, root in enumerate(line.tolist()):
                    self.found[root].slots.setdefault((name, role, side), []).append(at)
                return
        for root in set(units.flatten().tolist()):  # of no one side: they stay where they are
            self.found[root].marks["frozen", root] += 1

    def _names(self, groups: Sequence[Sequence[int]]) -> list[str]:
        """Return a name for each group: that of its first layer, numbered where there are several."""
        first = [next(iter(self.found[roots[0]].slots))[0].rpartition(".") for roots in groups]
        layers = [layer or weight for layer, _, weight in first]
        return [
            layer if layers.count(layer) == 1 else f"{layer}[{layers[:i].count(layer)}]"
            for i, layer in enumerate(layers)
        ]

    def _places(self, roots: Sequence[int], name: str) -> tuple[Place, ...]:
        places = []
        for key, first in self.found[roots[0]].slots.items():
            weight, _, side = key
            at = torch.tensor([self.found[root].slots[key] for root in roots])
            shape = self.trace.shapes[weight]
            step = int(at[1, 0] - at[0, 0])
            if step < 1 or shape[side] % step or not torch.equal(at, at[0] + step * torch.arange(len(at)).unsqueeze(1)):
                raise LmcError(f"{self.trace.name}: the units of {name} do not lie evenly in {weight}; {FIX}")
            view = (*shape[:side], shape[side] // step, step, *shape[side + 1 :]) if step > 1 else shape
            blocks = all(start // step * step + i in first for start in first for i in range(step))
            for start in first:
                span = _span(start // step, len(roots), view[side])
                if step == 1 or not blocks:
                    fixed = ((side + 1, start % step),) if step > 1 else ()
                    places.append(Place(weight, view, side, fixed, span))
                elif start % step == 0:
                    places.append(Place(weight, view, side, (), span))
        return tuple(places)

    def _with_heads(self, axes: dict[str, tuple[Place, ...]]) -> dict[str, tuple[Place, ...]]:
        """Add the groups of heads, each of which holds groups of its own: as many, laid out alike."""
        cells: dict[int, set[object]] = defaultdict(set)
        for label, inside in self.trace.inside.items():
            cells[self.trace.root(label)] |= inside
        kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for root in sorted(cells):
            if root and not self.found[root].slots:
                kinds[self.found[root].kind].append(root)
        for heads in kinds.values():
            marks = {name: self.found[roots[0]].marks.keys() for name, roots in self.groups.items()}
            inner = [[name for name in self.groups if cells[head] & marks[name]] for head in heads]
            if len(heads) > 1 and inner[0] and len({len(names) for names in inner}) == 1:
                found = [
                    _lifted(places)
                    for names in zip(*inner, strict=True)
                    for places in zip(*(axes[name] for name in names), strict=True)
                ]
                outer = [whole for whole, _ in found if whole is not None]
                if len(outer) < len(found):
                    continue  # not laid out alike: they stay where they are
                held: dict[str, list[Place]] = defaultdict(list)
                pairs = [names for names in zip(*inner, strict=True) for _ in axes[names[0]]]
                for names, (_, parts) in zip(pairs, found, strict=True):
                    for name, part in zip(names, parts, strict=True):
                        held[name].append(part)
                whole_name, before = f"{inner[0][0].partition('[')[0]}.groups", list(axes).index(inner[0][0])
                entries = [(name, tuple(held.get(name, places))) for name, places in axes.items()]
                axes = dict([*entries[:before], (whole_name, tuple(outer)), *entries[before:]])
        return axes

    def _sites(self) -> tuple[Site, ...]:
        """Return the layers with parameters of units that they put out; a norm stands for the layer before it."""
        sites: dict[str, Site] = {}
        by_output: dict[int, str] = {}
        for layer, output, seen in self.trace.outputs:
            units = self.trace.roots(self.trace.labels_of(output))
            for side in range(1, units.ndim):
                line = units.amax([other for other in range(units.ndim) if other != side])
                shape = [-1 if other == side else 1 for other in range(units.ndim)]
                if not torch.equal(line.view(shape).expand_as(units), units):
                    continue
                columns = {}
                for name, roots in self.groups.items():
                    slots = self.found[roots[0]].slots
                    if any(weight.rpartition(".")[0] == layer and role != "in" for weight, role, _ in slots):
                        at = [(line == root).nonzero().flatten() for root in roots]
                        if len(at[0]):
                            columns[name] = torch.stack(at)
                if columns:
                    if (before := sites.get(by_output.get(id(seen), ""))) and before.columns.keys() <= columns.keys():
                        del sites[before.layer]
                    sites[layer] = Site(layer, side, columns)
                    by_output[id(output)] = layer
                break
        return tuple(sites.values())


def _lifted(places: Sequence[Place]) -> tuple[Place | None, list[Place]]:
    """Return the place of heads, whose own places in one weight these are, and each of these as a part of it.

    None where they do not lie one behind the other, in blocks of their size.
    """
    first, size = places[0], places[0].units
    starts = [place.span[0] if place.span else 0 for place in places]
    n, side = first.shape[first.side], first.side
    if first.at or n % size or starts[0] % size or starts != [starts[0] + i * size for i in range(len(places))]:
        return None, []
    view = (*first.shape[:side], n // size, size, *first.shape[side + 1 :])
    whole = Place(first.weight, view, side, (), _span(starts[0] // size, len(places), n // size))
    return whole, [Place(first.weight, view, side + 1, ((side, start // size),)) for start in starts]


def _span(start: int, units: int, side: int) -> tuple[int, int] | None:
    """Return the part of a side that units take, None for all of it."""
    return None if units == side else (start, start + units)
