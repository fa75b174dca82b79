"""Interchangeable units of any torch module, derived from one forward pass.

Every number between the layers carries the label of its unit. A layer gives its outputs new labels, operations on each
number keep them, views and paddings move them, and a sum ties those that it adds: so units of a residual stream are
one across its skips. Units are interchangeable where the same operations see them, and their weights lie alike.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.models.batchnorm import running_norms, statistic

FIX = "write its units down as `axes` of the module (docs/extending.md)"

_MOVES = re.compile(
    r"(_unsafe_)?view|_?reshape(_alias)?|permute|transpose|t|slice|select|(un)?squeeze|expand|clone|alias|detach|unbind"
    r"|split(_with_sizes)?|cat|stack|constant_pad_nd|flip|roll|repeat|pixel_shuffle|channel_shuffle|narrow|im2col"
    r"|(reflection|replication)_pad\dd|lift_fresh"
)
"""Operations that move numbers, and so labels; what they pad with has none."""

_ELEMENTWISE = re.compile(
    r"add|sub|mul|div|neg|abs|pow|r?sqrt|exp|expm1|log|log1p|sin|cos|sigmoid|tanh|erf|relu6?|leaky_relu|elu|celu|selu"
    r"|gelu|silu|mish|hard(tanh|swish|sigmoid)|softplus|clamp(_min|_max)?|maximum|minimum|where|masked_fill|square"
    r"|_prelu_kernel|(native_)?dropout|reciprocal|log_sigmoid_forward|_to_copy|threshold"
)
_POOLS = re.compile(r"_?(adaptive_)?(max|avg)_pool\dd(_with_indices)?|upsample_\w+")
_SUMS = re.compile(r"mean|sum|amax|amin|max|min|var|std|logsumexp|linalg_vector_norm")
_SOFTMAX = re.compile(r"_(log_|safe_)?softmax")
_BATCH_NORM = re.compile(r"(native|cudnn|miopen)_batch_norm|_native_batch_norm_legit\w*|_batch_norm_no_update")


def traced(net: nn.Module, inputs: Tensor, name: str) -> Trace:
    """Return the labels of a module in evaluation mode, from a forward pass of `inputs` [b, ...]; logits are frozen.

    Raises:
        LmcError: The module has a layer through which units cannot be followed.
    """
    trace = Trace(net, inputs, name)
    with torch.no_grad(), _decomposed(), _named_layers(net, trace), trace:
        logits = own_code(name, lambda: net(inputs))
    trace.freeze(trace.labels_of(logits))
    return trace


@contextmanager
def _decomposed() -> Iterator[None]:
    """Hold attention to operations of which each is followed."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _named_layers(net: nn.Module, trace: Trace) -> Iterator[None]:
    """Keep the trace's stack of layers, and the outputs of those that own parameters."""
    handles = []
    for name, layer in net.named_modules():
        owns = any(True for _ in layer.parameters(recurse=False))

        def enter(module: nn.Module, args: Any, name: str = name) -> None:
            trace.layers.append(name)

        def leave(module: nn.Module, args: Any, output: Any, name: str = name, owns: bool = owns) -> None:
            trace.layers.pop()
            if owns and isinstance(output, Tensor):
                seen = args[0] if args and isinstance(args[0], Tensor) else None
                trace.outputs.append((name, output, seen))

        handles += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Trace(TorchDispatchMode):
    """Follows labels through a forward pass: 0 is no unit, a number that is the same whatever the order of units.

    Attributes:
        outputs: Name, output and first input of each layer that owns parameters.
        shapes: Of each parameter and each running statistic.
        held: By parameter and role, the label of each of its numbers behind a first 0: of a layer's inputs, of its
            outputs, or of what it meets number by number.
        marks: By label, the operations that see the unit, and how often.
        inside: By label of a head, the sets of units that it is made of, or reads.
    """

    def __init__(self, net: nn.Module, inputs: Tensor, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.net, self.name = net, name
        self.layers: list[str] = []  # that are being called
        self.outputs: list[tuple[str, Tensor, Tensor | None]] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.held: dict[tuple[str, str], Tensor] = {}
        self.marks: dict[int, list[tuple[object, int]]] = defaultdict(list)
        self.inside: dict[int, set[object]] = defaultdict(set)
        self.parent, self.operations = [0], 0
        self.alive: list[Tensor] = []  # so that no id is used twice
        self.labels: dict[int, Tensor] = {}
        self.parts: dict[int, tuple[str, Tensor]] = {}  # of a parameter or a view of it: where each number lies, from 1
        norms = running_norms(net).items()
        statistics = {statistic(layer, key): x for layer, norm in norms for key, x in norm.named_buffers() if x.ndim}
        for key, x in {**dict(net.named_parameters()), **statistics}.items():
            self.shapes[key] = tuple(x.shape)
            self._keep(x, self.parts, (key, torch.arange(1, x.numel() + 1).view(x.shape)))
        labels = self.new(inputs[0].numel()).view(inputs[:1].shape).expand(inputs.shape)
        self._keep(inputs, self.labels, labels)
        self.freeze(labels)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [x for arg in (*args, *kwargs.values()) for x in (arg if isinstance(arg, (list, tuple)) else (arg,))]
        known = [x for x in tensors if isinstance(x, Tensor) and (id(x) in self.labels or id(x) in self.parts)]
        made = func(*args, **kwargs)
        if not known:
            return made
        operation = func._schema.name.removeprefix("aten::")
        in_place = operation.endswith("_") and not operation.endswith("__")
        operation = operation.rstrip("_") if in_place else operation
        self.operations += 1
        outs = [x for x in (made if isinstance(made, (list, tuple)) else (made,)) if isinstance(x, Tensor)]
        if not outs:
            return made
        if in_place and (id(args[0]) in self.parts or _is_part(args[0])):
            raise self.refused(f"{operation}_ on a part of a tensor")
        if _MOVES.fullmatch(operation) or (operation == "as_strided" and outs[0].shape == args[0].shape):
            self._moved(func, args, kwargs, outs)
        elif _ELEMENTWISE.fullmatch(operation):
            self._elementwise([x for x in tensors if isinstance(x, Tensor)], outs[0])
        else:
            self._keep(outs[0], self.labels, self._units(operation, args, outs[0]))
        return made

    def _units(self, operation: str, args: Sequence[Any], out: Tensor) -> Tensor:
        """Return the labels of what a layer puts out."""
        x = args[0]
        if operation == "convolution" and id(x) in self.labels:
            return self._convolution(args, out)
        if operation in ("mm", "bmm", "addmm", "baddbmm"):
            bias, a, b = args[:3] if "add" in operation else (None, *args[:2])
            return self._product(a, b, bias, out)
        if id(x) not in self.labels:
            raise self.refused(operation)
        labels = self.labels_of(x)
        self.mark(self.operations, labels)
        if _POOLS.fullmatch(operation):
            return self.tied(labels, range(2, labels.ndim)).expand(out.shape)
        if _SUMS.fullmatch(operation):
            dims = args[1] if len(args) > 1 and args[1] is not None else list(range(labels.ndim))
            return self._summed(labels, [dims] if isinstance(dims, int) else list(dims), out)
        if _SOFTMAX.fullmatch(operation):
            self.cells(labels, [args[1]])
            return labels
        if _BATCH_NORM.fullmatch(operation):
            labels = self.tied(labels, [side for side in range(labels.ndim) if side != 1]).expand(labels.shape)
            self._affine(args[1:5], labels, 1)
            return labels
        if operation == "native_layer_norm":
            self.cells(labels, range(-len(args[1]), 0))
            self._affine(args[2:4], labels, labels.ndim - len(args[1]))
            return labels
        if operation == "native_group_norm":
            labels = self.tied(labels, [side for side in range(labels.ndim) if side != 1]).expand(labels.shape)
            grouped = labels.flatten(1).view(len(labels), args[6], -1)
            self.cells(grouped, [2])
            self._affine(args[1:3], labels, 1)
            return labels
        raise self.refused(operation)

    def _moved(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], outs: Sequence[Tensor]) -> None:
        """Move labels as their numbers; parameters alone stay parameters."""
        flat = [x for arg in args for x in (arg if isinstance(arg, (list, tuple)) else (arg,)) if isinstance(x, Tensor)]
        alone = len(flat) == 1 and id(flat[0]) in self.parts

        def number(x: Any) -> Any:
            if isinstance(x, (list, tuple)):
                return type(x)(map(number, x)) if any(isinstance(y, Tensor) for y in x) else x
            if not isinstance(x, Tensor):
                return x
            found = self.parts[id(x)][1] if alone else self._entered(x)
            return found.double()

        operation = func._schema.name.removeprefix("aten::")
        if operation in ("view", "_unsafe_view", "_reshape_alias", "as_strided"):
            moved: Any = number(args[0]).reshape(outs[0].shape)
        else:
            moved = func(*map(number, args), **{k: v for k, v in kwargs.items() if k != "memory_format"})
        for out, labels in zip(outs, moved if isinstance(moved, (list, tuple)) else (moved,), strict=True):
            if alone:
                self._keep(out, self.parts, (self.parts[id(flat[0])][0], labels.long()))
            else:
                self._keep(out, self.labels, labels.long())

    def _elementwise(self, operands: Sequence[Tensor], out: Tensor) -> None:
        """Tie the units that meet in one number; a parameter's numbers become theirs."""
        parts = [x for x in operands if id(x) in self.parts and x.numel() > 1]
        tracked = [x for x in operands if id(x) in self.labels]
        if not tracked and len(parts) < 2 and all(x.numel() == 1 for x in operands if x not in parts):
            for x in parts:  # of a parameter alone: its numbers lie where they did
                self._keep(out, self.parts, self.parts[id(x)])
            return
        labels = torch.zeros(out.shape, dtype=torch.int64)
        for x in tracked:
            labels = self.joined(labels, self.labels_of(x).expand(out.shape))
        for x in parts:
            labels = self._hold(x, "each", labels)
        self.mark(self.operations, labels)
        for x in operands:
            if id(x) not in self.labels and id(x) not in self.parts and x.numel() > 1:
                self._constant(x.expand(out.shape), labels)
        self._keep(out, self.labels, labels)

    def _constant(self, x: Tensor, labels: Tensor) -> None:
        """Freeze units to which a constant gives different numbers."""
        labels = self.roots(labels)
        for side in range(x.ndim):
            if not torch.equal(labels, labels.amax(side, keepdim=True).expand_as(labels)) and not torch.equal(
                x, x.select(side, 0).unsqueeze(side).expand_as(x)
            ):
                self.freeze(labels)

    def _summed(self, labels: Tensor, dims: Sequence[int], out: Tensor) -> Tensor:
        """Return labels of sums: a unit's own, of different units 0, or that of the cell that they are."""
        roots = self.roots(labels)
        highest = roots.amax(tuple(dims), keepdim=True)
        if torch.equal(highest.expand_as(roots), roots):
            return labels.amax(tuple(dims), keepdim=True).reshape(out.shape)
        return self.cells(labels, dims).reshape(out.shape)

    def _convolution(self, args: Sequence[Any], out: Tensor) -> Tensor:
        x, weight, bias, *_, transposed, _, groups = args
        labels = self.tied(self.labels_of(x), [side for side in range(x.ndim) if side != 1])
        depthwise = groups == x.shape[1] == weight.shape[0]
        if id(weight) not in self.parts or transposed or (groups > 1 and not depthwise):
            kind = "transposed" if transposed else "grouped" if groups > 1 else "computed"
            raise self.refused(f"the {kind} weights of a convolution")
        self.mark(self.operations, labels)
        if groups == 1:
            self._hold(weight, "in", labels.expand(1, *weight.shape[1:2], *[1] * (x.ndim - 2)).expand(weight.shape))
            labels = torch.zeros(1, dtype=torch.int64)
        column = (-1, *[1] * (weight.ndim - 1))
        made = self._hold(weight, "out", labels.reshape(column).expand(weight.shape), rows=True)
        made = made.flatten(1)[:, 0]
        if bias is not None:
            self._hold(bias, "out", made)
        return made.view(1, -1, *[1] * (out.ndim - 2)).expand(out.shape)

    def _product(self, a: Tensor, b: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
        """Return the labels of a product [.., n, k] x [.., k, m]."""
        if id(a) in self.labels and id(b) in self.parts:
            return self._linear(a, b, bias, out)
        if id(a) not in self.labels or id(b) not in self.labels or bias is not None:
            raise self.refused("a product with numbers that are no parameter")
        first, second = (self.roots(self.labels_of(x)) for x in (a, b))
        first, second = (x if x.ndim == 3 else x.unsqueeze(0) for x in (first, second))
        shape = (len(first), first.shape[1], second.shape[2])
        if not _even(first, 2) and _even(first, 1) and not _even(second, 1) and _even(second, 2):
            row = self.joined(first[:, 0, :], second[:, :, 0])
            heads = self.cells(self.roots(row), [1], always=True)
            self.mark(self.operations, first)
            return heads.unsqueeze(2).expand(shape).reshape(out.shape)
        if _even(first, 2) and _even(second, 1) and (_even(first, 1) or _even(second, 2)):
            columns, other = (second[:, :1, :], first) if _even(first, 1) else (first[:, :, :1], second)
            self.mark(self.operations, columns)
            self.mark((self.operations, "of"), other)
            self.cells(columns, [1, 2], heads=other.flatten(1).amax(1), always=True)
            return columns.expand(shape).reshape(out.shape)
        raise self.refused("a product of two tensors whose units it mixes")

    def _linear(self, a: Tensor, b: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
        places = self.parts[id(b)][1]
        labels = self.tied(self.labels_of(a), [a.ndim - 2])  # [.., 1, k]
        self.mark(self.operations, labels)
        self._hold(b, "in", labels.mT.expand(b.shape))
        made = self._hold(b, "out", torch.zeros(b.shape, dtype=torch.int64), columns=True)
        made = made.select(-2, 0).unsqueeze(-2)
        if b.ndim == 3 and not _even(places, 0):  # a map of its own for each of several parts
            for i, (row, column) in enumerate(zip(labels, made, strict=True)):
                self.mark((self.operations, i), row)
                self.mark((self.operations, i), column)
        if bias is not None:
            if id(bias) not in self.parts:
                raise self.refused("a product with a bias that is no parameter")
            self._hold(bias, "out", made.expand(out.shape))
        return made.expand(out.shape)

    def _affine(self, parameters: Sequence[Tensor | None], labels: Tensor, side: int) -> None:
        """Give the numbers of a norm's scale and shift the units at `side` and after it."""
        for x in parameters:
            if x is not None and id(x) in self.parts:
                behind = labels.ndim - side - x.ndim
                name, places = self.parts[id(x)]
                wide = places.reshape(*x.shape, *[1] * behind).expand(labels.shape)
                self._hold_at(name, wide, "each", labels)

    def _hold(self, x: Tensor, role: str, labels: Tensor, rows: bool = False, columns: bool = False) -> Tensor:
        """Give the numbers of a parameter their units; those with none become units: each, or each row or column."""
        name, places = self.parts[id(x)]
        places = places.expand(labels.shape)
        free = labels == 0
        if free.any() and role != "in":
            one = places
            if rows:
                one = places.flatten(1)[:, :1].view(-1, *[1] * (places.ndim - 1)).expand_as(places)
            if columns:
                one = places[..., :1, :].expand_as(places)
            values, index = np.unique(one[free].numpy(), return_inverse=True)
            labels = labels.clone()
            labels[free] = self.new(len(values))[torch.from_numpy(index)]
        self._hold_at(name, places, role, labels)
        return labels

    def _hold_at(self, name: str, places: Tensor, role: str, labels: Tensor) -> None:
        size = prod(self.shapes[name]) + 1
        held = self.held.setdefault((name, role), torch.zeros(size, dtype=torch.int64))
        places, labels = places.flatten(), labels.flatten()
        mine = torch.zeros_like(held)
        mine[places] = labels
        self.joined(mine[places], labels)  # several that meet in one number
        held.copy_(self.joined(held, mine))
        held[0] = 0

    def _entered(self, x: Tensor) -> Tensor:
        """Return labels of any operand: of a parameter new ones, of a constant none."""
        if id(x) in self.parts:
            return self._hold(x, "each", torch.zeros(x.shape, dtype=torch.int64))
        return self.labels_of(x)

    def labels_of(self, x: Any) -> Tensor:
        """Return a tensor's labels, 0 where it has none."""
        if not isinstance(x, Tensor):
            raise self.refused(f"an output of type {type(x).__name__}")
        return self.labels.get(id(x), torch.zeros(x.shape, dtype=torch.int64))

    def _keep(self, x: Tensor, store: dict[int, Any], value: Any) -> None:
        self.alive.append(x)
        store[id(x)] = value

    def new(self, count: int) -> Tensor:
        """Return labels [count] of new units."""
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def freeze(self, labels: Tensor) -> None:
        """Let these units stay where they are."""
        for label in set(labels.flatten().tolist()):
            self.marks[label].append((("frozen", label), 1))

    def mark(self, operation: object, labels: Tensor) -> None:
        """Note that an operation sees these units, each so often."""
        for label, count in Counter(labels.flatten().tolist()).items():
            self.marks[label].append((operation, count))

    def cells(
        self, labels: Tensor, dims: Sequence[int] | range, heads: Tensor | None = None, always: bool = False
    ) -> Tensor:
        """Mark units that an operation sees together, where there are several such sets; return a label of each set.

        Args:
            labels: Any shape.
            dims: The sides over which the operation runs.
            heads: Labels of units that see one set each, in place of new ones.
            always: A single set has a label too.
        """
        roots = self.roots(labels)
        sides = sorted(side % labels.ndim for side in dims)
        rest = [side for side in range(labels.ndim) if side not in sides]
        rows = roots.permute(*rest, *sides).reshape(prod(labels.shape[side] for side in rest), -1)
        found, index = (torch.from_numpy(x) for x in np.unique(rows.numpy(), axis=0, return_inverse=True))
        made = torch.zeros(len(found), dtype=torch.int64)
        if len(found) > 1 or always:
            made = self.new(len(found))
            for i, row in enumerate(found):
                if len(found) > 1 and len(set(row.tolist())) > 1:
                    self.mark((self.operations, "cell", i), row)
                for head in set((made[i : i + 1] if heads is None else heads[index == i]).tolist()):
                    self.inside[head].add((self.operations, "cell", i))
        return made[index].reshape([1 if side in sides else size for side, size in enumerate(labels.shape)])

    def tied(self, labels: Tensor, dims: Sequence[int] | range) -> Tensor:
        """Return labels with these sides of length 1: units along them are one."""
        if not len(dims):
            return labels
        highest = labels.amax(tuple(dims), keepdim=True)
        self.joined(labels, highest.expand_as(labels))
        return highest

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        """Tie units that meet, and return their labels."""
        meets = (a != b) & (a != 0) & (b != 0)
        for x, y in set(zip(a[meets].tolist(), b[meets].tolist(), strict=True)):
            first, second = sorted((self.root(x), self.root(y)))
            self.parent[second] = first
        return torch.where(a != 0, a, b)

    def root(self, label: int) -> int:
        """Return the label of the unit that one is tied to."""
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def roots(self, labels: Tensor) -> Tensor:
        """Return the labels of the units that these are tied to: the first of each."""
        return torch.tensor([self.root(label) for label in range(len(self.parent))])[labels]

    def refused(self, found: str) -> LmcError:
        """Return the error for a layer through which units cannot be followed."""
        kind = type(self.net.get_submodule(self.layers[-1])).__name__ if self.layers else type(self.net).__name__
        where = f"{(self.layers or [''])[-1] or 'the module'} ({kind})"
        return LmcError(f"{self.name}: units cannot be followed through {found} in {where}; {FIX}")


def _is_part(x: Tensor) -> bool:
    return x._base is not None and x._base.numel() > x.numel()


def _even(labels: Tensor, side: int) -> bool:
    """Return whether labels do not change along a side."""
    return torch.equal(labels, labels.amax(side, keepdim=True).expand_as(labels))
