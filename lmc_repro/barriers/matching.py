"""Matching: the permutation of one network's hidden units that brings it nearest to another, by weights or activations.

Each step is a linear assignment over a group of units. Weights: coordinate descent over the groups (Ainsworth et al.
2023, arXiv 2209.04836, Section 3.2). Activations: the sum of correlations of matched units, group by group (Li et al.
2015, arXiv 1511.07543; Ainsworth et al., Section 3.1). Products are those of training, so equal weights give equal
permutations on every machine of one numerics tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lmc_repro.barriers.activations import hidden_outputs
from lmc_repro.barriers.alignment import permuted, require_groups, units
from lmc_repro.common.errors import LmcError
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Axes, Model, Place, Weights
from lmc_repro.models.products import matmul

LEAST_GAIN = 1e-6
"""A step must raise a group's similarity by this share of the group's own size: float32 sums are no more exact."""

Orders = dict[str, Tensor]
"""For each group int64 [units]: which of theta_1's units stands at each place; outer groups first."""


def weight_matching(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
    """Return theta_1 with its hidden units in the order that is nearest to theta_0's (see `Alignment`)."""
    axes = model.axes()
    return permuted(theta_1, axes, match_weights(axes, theta_0, theta_1))


def match_weights(axes: Axes, theta_0: Weights, theta_1: Weights) -> Orders:
    """Return the permutations that maximise the inner product of theta_0 and permuted theta_1, as far as found.

    Groups are visited from input to output, so that nothing is drawn: restarts in random orders, Ainsworth et al.'s,
    never came nearer.

    Args:
        axes: The groups of units.
        theta_0: Weights of the network that stays, by name.
        theta_1: Weights of the network whose units move.

    Raises:
        LmcError: There is no group.
    """
    require_groups(axes, "align weights")
    return _Problem(axes, theta_0, theta_1).solve()


def activation_matching(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
    """Return theta_1 with its hidden units in the order whose activations correlate most (see `Alignment`)."""
    return permuted(theta_1, model.axes(), match_activations(model, theta_0, theta_1, dataset))


def match_activations(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset) -> Orders:
    """Return `match_hidden` of `Model.hidden`, before the nonlinearity, on the images of `hidden_outputs`."""
    return match_hidden(model.axes(), hidden_outputs(model, (theta_0, theta_1), dataset))


@torch.no_grad()
def match_hidden(axes: Axes, batches: Iterable[Mapping[str, Tensor]]) -> Orders:
    """Return the permutations that maximise the sum of the correlations of matched units.

    A unit that is constant correlates with none.

    Args:
        axes: The groups of units.
        batches: Outputs of both networks, [2, samples, units] per group; groups that hold others are left out.

    Raises:
        LmcError: There is no group, or there are no outputs of one.
    """
    require_groups(axes, "align activations")
    blocks = _blocks(axes)
    orders = {name: torch.arange(units(axes, name)) for name in axes}
    pairs = {(block.name, block.name) for block in blocks if not block.inner}
    pairs |= {(a, b) for block in blocks for x in block.inner for y in block.inner for a, b in zip(x, y, strict=True)}
    sums: dict[tuple[str, str], NDArray[np.float64]] = {}
    first: Mapping[str, Tensor] = {}
    for outputs in batches:
        # Less the first sample's: float32 products of a unit that hardly moves about its mean hold the mean alone.
        first = first or {name: values[:, :1] for name, values in outputs.items()}
        hidden = {name: values - first[name] for name, values in outputs.items()}
        if missing := {name for pair in pairs for name in pair} - hidden.keys():
            raise LmcError(f"activations: no layer puts out the units of {min(missing)}; match by weights")
        for here, there in pairs:
            # A column of ones beside the units: products with it are the sums.
            a, b = (functional.pad(hidden[name][i], (0, 1), value=1.0) for i, name in enumerate((here, there)))
            found = matmul(a.T.unsqueeze(0), b.unsqueeze(0))[0].cpu().double().numpy()
            sums[here, there] = sums.get((here, there), 0.0) + found
        for name, values in hidden.items():
            squares = values.double().square().sum(1).cpu().numpy()
            sums[name, ""] = sums.get((name, ""), 0.0) + squares

    def correlations(here: str, there: str) -> NDArray[np.float64]:
        if (here, there) not in sums:
            return np.zeros((len(orders[here]), len(orders[there])))
        found = sums[here, there]
        count = found[-1, -1]
        means = found[:-1, -1] / count, found[-1, :-1] / count
        deviations = [
            np.sqrt(np.maximum(sums[name, ""][i] / count - means[i] ** 2, 0.0)) for i, name in enumerate((here, there))
        ]
        scale = np.outer(*(np.where(d > 1e-6 * np.abs(m), d, np.inf) for d, m in zip(deviations, means, strict=True)))
        result: NDArray[np.float64] = (found[:-1, :-1] / count - np.outer(*means)) / scale
        return result

    for block in blocks:
        _match(block, correlations, orders, LEAST_GAIN * len(orders[block.name]))
    return orders


@dataclass
class _Block:
    """A group, and the groups inside of each of its units: of a head its keys and its values.

    `inner[unit]` are the groups of one unit, in the same order for each unit.
    """

    name: str
    inner: list[list[str]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [self.name, *(name for names in self.inner for name in names)]


class _Problem:
    """Two networks' weights, and the value of each assignment of units."""

    def __init__(self, axes: Axes, theta_0: Weights, theta_1: Weights) -> None:
        self.axes, self.theta_0, self.theta_1 = axes, theta_0, theta_1
        self.blocks = _blocks(axes)
        self.sizes = {name: units(axes, name) for name in axes}
        self.on: dict[str, list[tuple[str, Place]]] = {}
        for name, places in axes.items():
            for place in places:
                self.on.setdefault(place.weight, []).append((name, place))
        self.scale = sum(float(w.double().square().sum()) for theta in (theta_0, theta_1) for w in theta.values()) / 2

    def solve(self) -> Orders:
        """Return orders that no single group can improve, and that are no further away than units in their own places.

        In the first round each group is matched by the weights alone whose other units are matched already: what the
        others would add is noise; this one round recovers a network's own permutation. Where only inner layers are
        alike it leads away from them: then the descent begins in the units' own places.
        """
        own = {name: torch.arange(size) for name, size in self.sizes.items()}
        orders, unmatched = dict(own), set(self.axes)
        for block in self.blocks:
            unmatched.difference_update(block.names)
            self._improve(block, orders, unmatched)
        self._descend(orders)
        if self._similarity(orders) < self._similarity(own):
            orders = own
            self._descend(orders)
        return orders

    def _descend(self, orders: Orders) -> None:
        """Match groups by all weights, until none of them moves."""
        stale = set(range(len(self.blocks)))
        while stale:
            for i, block in enumerate(self.blocks):
                if i in stale:
                    stale.discard(i)
                    if self._improve(block, orders, set()):
                        touched = {p.weight for name in block.names for p in self.axes[name]}
                        near = {name for weight in touched for name, _ in self.on[weight]}
                        stale |= {j for j, b in enumerate(self.blocks) if j != i and near.intersection(b.names)}

    def _similarity(self, orders: Orders) -> float:
        """Return the inner product of theta_0 and permuted theta_1, over the weights that have units."""
        return sum(float((self.theta_0[w].double() * self._moved(w, orders).double()).sum()) for w in self.on)

    def _improve(self, block: _Block, orders: Orders, unmatched: set[str]) -> bool:
        """Match the units of one block, all others in their present order; return whether any moved."""
        rest = {name: order for name, order in orders.items() if name not in block.names}
        moved = {p.weight: self._moved(p.weight, rest) for name in block.names for p in self.axes[name]}

        def scores(here: str, there: str) -> NDArray[np.float64]:
            return self._scores(here, there, moved, unmatched, block.names)

        return _match(block, scores, orders, LEAST_GAIN * self.scale)

    def _moved(self, weight: str, orders: Mapping[str, Tensor]) -> Tensor:
        """Return a weight of theta_1 with the units of the given groups in their order."""
        names = {name for name, _ in self.on[weight]}.intersection(orders)
        axes = {name: tuple(p for p in self.axes[name] if p.weight == weight) for name in self.axes if name in names}
        return permuted({weight: self.theta_1[weight]}, axes, {name: orders[name] for name in axes})[weight]

    def _scores(
        self, here: str, there: str, moved: Weights, unmatched: set[str], block: list[str]
    ) -> NDArray[np.float64]:
        """Return the inner products of theta_0's units in group `here` with theta_1's in `there`, over all places."""
        total = np.zeros((self.sizes[here], self.sizes[there]))
        pairs = list(zip(self.axes[here], self.axes[there], strict=True))
        matched = [pair for pair in pairs if not self._meets(pair[0], unmatched)]
        for a, b in matched or pairs:
            if any(name in block and name != here and _inside(place, a) for name, place in self.on[a.weight]):
                continue  # counted by the groups inside
            rows, columns = _rows(self.theta_0[a.weight], a), _rows(moved[b.weight], b)
            total += matmul(rows.unsqueeze(0), columns.T.unsqueeze(0))[0].double().numpy()
        return total

    def _meets(self, place: Place, unmatched: set[str]) -> bool:
        """Return whether units of an unmatched group lie in the same part of the weight."""
        return any(n in unmatched and not _apart(p, place) for n, p in self.on[place.weight])


Scores = Callable[[str, str], NDArray[np.float64]]
"""From a group of theta_0 and one of theta_1 to the similarity [units, units] of each two units."""


def _match(block: _Block, scores: Scores, orders: Orders, least: float = 0.0) -> bool:
    """Give a block's units their best order; return whether any moved.

    Units stay where they are unless others are better by more than `least`: equal networks give the identity. Two units
    with groups inside, such as heads, are as similar as these are in their own best order.
    """
    score = scores(block.name, block.name)
    inside: dict[tuple[int, int], list[Tensor]] = {}
    for i, names in enumerate(block.inner):
        for j, others in enumerate(block.inner):
            inside[i, j] = []
            for here, there in zip(names, others, strict=True):
                each = scores(here, there)
                order = _assign(each, torch.arange(len(each)))
                score[i, j] += each[np.arange(len(each)), order.numpy()].sum()
                inside[i, j].append(order)
    new = {block.name: _assign(score, orders[block.name], least)}
    for i, names in enumerate(block.inner):
        new.update(zip(names, inside[i, int(new[block.name][i])], strict=True))
    changed = any(not torch.equal(orders[name], order) for name, order in new.items())
    orders.update(new)
    return changed


def _assign(score: NDArray[np.float64], now: Tensor, least: float = 0.0) -> Tensor:
    """Return the order of the largest total score, or the present one where that is not more than `least` below."""
    from scipy.optimize import linear_sum_assignment

    rows = np.arange(len(score))
    columns = linear_sum_assignment(score, maximize=True)[1]
    gain = score[rows, columns].sum() - score[rows, now.numpy()].sum()
    return torch.from_numpy(columns.astype(np.int64)) if gain > least else now


def _rows(weight: Tensor, place: Place) -> Tensor:
    """Return [units, values]: the part of a weight that belongs to each unit of a place."""
    return place.part(weight).movedim(place.free_side, 0).reshape(place.units, -1)


def _inside(inner: Place, outer: Place) -> bool:
    """Return whether a place lies within one unit of another."""
    return inner.weight == outer.weight and inner.shape == outer.shape and _unit(inner, outer) in range(outer.units)


def _unit(inner: Place, outer: Place) -> int:
    """Return the unit of a place within which another lies, -1 if there is none."""
    return dict(inner.at).get(outer.side, -1) - (outer.span[0] if outer.span else 0)


def _apart(a: Place, b: Place) -> bool:
    """Return whether two places of one weight share no number."""
    if a.shape != b.shape:
        return False
    if a.side == b.side and a.span and b.span and (a.span[1] <= b.span[0] or b.span[1] <= a.span[0]):
        return True
    fixed = dict(b.at)
    return any(side in fixed and fixed[side] != at for side, at in a.at)


def _blocks(axes: Axes) -> list[_Block]:
    """Return the groups that move by themselves, each with those inside of its units."""
    inside: dict[str, tuple[str, int]] = {}
    for name, places in axes.items():
        for outer, others in axes.items():
            if name != outer and all(any(_inside(p, o) for o in others) for p in places):
                inside[name] = outer, _unit(places[0], next(o for o in others if _inside(places[0], o)))
    blocks = [_Block(name) for name in axes if name not in inside]
    for block in blocks:
        names = [[n for n, at in inside.items() if at == (block.name, unit)] for unit in range(units(axes, block.name))]
        block.inner = names if any(names) else []
    return blocks
