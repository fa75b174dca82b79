"""Portable bits of any torch module: its products are those of `lmc_repro.models.products`, not MKL's or oneDNN's.

Below autograd each operation of torch passes through a mode, in the forward and in the backward pass. Products are
computed by our OpenBLAS there; what MKL would compute otherwise, and has no other way here, is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product as combinations
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import is_portable
from lmc_repro.models.products import matmul

_COLUMNS = 2**22
"""Numbers that a convolution unfolds at once: 16 MB. Sums over a batch are cut by it, so it decides bits."""

_OF_A_LIBRARY = re.compile(
    r"(?!_?(upsample|trilinear))_*(\w*(mm|mm_activation|mv|dot|conv\w*|linear\w*|attention\w*|encoder_layer\w*|matmul|cdist\w*|_dist|rnn\w*|lstm\w*|gru\w*)"
    r"|linalg_(?!vector_norm)\w+|fft_\w+|\w*(mkl|cholesky|geqrf|lu_solve|triangular_solve|ormqr)\w*"
    r"|a?(cos|sin|tan)|erf(c|inv)?|log(10|2|sumexp)|logsumexp)_?"
)
"""Operations by name that call MKL, oneDNN or LAPACK: products, factorisations, transforms, functions of MKL."""


@contextmanager
def portable_products(device: torch.device) -> Iterator[None]:
    """Hold torch's products, forward and backward, to those of portable numerics; no change in native or on a GPU.

    Raises:
        LmcError: Inside, for an operation whose bits would be the CPU vendor's.
    """
    if not is_portable() or device.type != "cpu":
        yield
        return
    fast, fused = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)  # else attention in evaluation is one fused operation
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # GELU, recurrent networks
    try:
        with sdpa_kernel(SDPBackend.MATH), _Products():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.enabled = fused


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes the operations of `_OURS` in our way, refuses others of a library, and lets the rest pass."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name: str = func._schema.name.removeprefix("aten::")
        if name.removesuffix("_") in _FUNCTIONS and func._overloadname == "default":
            result = _FUNCTIONS[name.removesuffix("_")](args[0])
            return args[0].copy_(result) if name.endswith("_") else result
        if name == "pow" and isinstance(args[1], float) and args[1] == 0.5:
            return _sqrt(args[0])  # as torch would
        known = name in _OURS and func._overloadname == "default"
        if not known and (name in _FUNCTIONS or name in _OURS or _OF_A_LIBRARY.fullmatch(name)):
            with self:  # a composite operation passes as its parts
                if (made := func.decompose(*args, **kwargs)) is not NotImplemented:
                    return made
            raise _refused(name, "is MKL's or oneDNN's")
        if not known:
            return func(*args, **kwargs)
        if not (args[0].is_floating_point() or args[0].is_complex()):
            return func(*args, **kwargs)  # whole numbers are exact
        if args[0].dtype != torch.float32:
            raise _refused(name, f"is of {args[0].dtype}")
        return _OURS[name](*args, **kwargs)


def _refused(name: str, why: str) -> LmcError:
    return LmcError(
        f"numerics: portable: torch's {name} {why}, its bits depend on the CPU's vendor; write the network without it, "
        "or choose native"
    )


def _mm(a: Tensor, b: Tensor) -> Tensor:
    return matmul(a.unsqueeze(0), b.unsqueeze(0))[0]


def _addmm(added: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    if beta == alpha == 1 and added.ndim == 1:
        return matmul(a.unsqueeze(0), b.unsqueeze(0), added.expand(b.shape[1]).unsqueeze(0))[0]
    return _mm(a, b).mul_(alpha).add_(added * beta)


def _baddbmm(added: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return matmul(a, b).mul_(alpha).add_(added * beta)


def _mv(a: Tensor, b: Tensor) -> Tensor:
    return _mm(a, b.unsqueeze(1)).squeeze(1)


def _addmv(added: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _mv(a, b).mul_(alpha).add_(added * beta)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return _mm(a.unsqueeze(0), b.unsqueeze(1)).reshape(())


class _Windows:
    """The windows [channels, *kernel, b, *out] of a convolution's padded inputs, and which samples go together."""

    def __init__(self, weight: Tensor, args: Sequence[Any]) -> None:
        stride, padding, dilation, transposed, _, self.groups = args
        if transposed:
            raise _refused("transposed convolution", "is oneDNN's")
        self.out_channels, self.channels, *self.kernel = weight.shape
        sides = len(self.kernel)
        self.stride, self.padding, self.dilation = (
            tuple(values) * (sides if len(values) == 1 else 1) for values in (stride, padding, dilation)
        )

    def sides(self, inputs: Tensor) -> list[int]:
        """Return the sides of the outputs."""
        steps = zip(inputs.shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return [(side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in steps]

    def parts(self, inputs: Tensor) -> Iterator[slice]:
        """Yield the samples whose windows are unfolded together."""
        one = inputs.shape[1] * prod(self.kernel) * prod(self.sides(inputs))
        size = max(1, _COLUMNS // max(one, 1))
        for start in range(0, len(inputs), size):
            yield slice(start, start + size)

    def unfolded(self, inputs: Tensor) -> Tensor:
        """Return columns [groups, channels x kernel, b x out] of inputs [b, groups x channels, *sides]."""
        ends = [p for p in reversed(self.padding) for _ in range(2)]
        padded = functional.pad(inputs, ends) if any(ends) else inputs
        batch, channel, *steps = padded.stride()
        out = self.sides(inputs)
        within = [d * step for d, step in zip(self.dilation, steps, strict=True)]
        across = [s * step for s, step in zip(self.stride, steps, strict=True)]
        shape = (inputs.shape[1], *self.kernel, len(inputs), *out)
        windows = padded.as_strided(shape, (channel, *within, batch, *across))
        return windows.reshape(self.groups, self.channels * prod(self.kernel), len(inputs) * prod(out))

    def folded(self, columns: Tensor, inputs: Tensor) -> Tensor:
        """Return the sums [b, groups x channels, *sides] of columns over the windows that each input lies in."""
        out = self.sides(inputs)
        padded = [side + 2 * p for side, p in zip(inputs.shape[2:], self.padding, strict=True)]
        sums = inputs.new_zeros(inputs.shape[1], len(inputs), *padded)
        windows = columns.view(inputs.shape[1], *self.kernel, len(inputs), *out)
        offsets: Iterator[tuple[int, ...]] = combinations(*map(range, self.kernel))
        for at in offsets:
            steps = zip(at, self.stride, self.dilation, out, strict=True)
            place = (slice(k * d, k * d + s * (n - 1) + 1, s) for k, s, d, n in steps)
            here: tuple[slice | int, ...] = (slice(None), *at)
            _cut(sums, place).add_(windows[here])
        kept = (slice(p, p + side) for side, p in zip(inputs.shape[2:], self.padding, strict=True))
        return _cut(sums, kept).transpose(0, 1).contiguous()

    def rows(self, weight: Tensor) -> Tensor:
        """Return filters as matrices [groups, filters, channels x kernel]."""
        return weight.reshape(self.groups, self.out_channels // self.groups, -1)

    def grouped(self, outputs: Tensor) -> Tensor:
        """Return outputs [b, filters, *out] as matrices [groups, filters, b x out]."""
        return outputs.transpose(0, 1).reshape(self.groups, self.out_channels // self.groups, -1)


def _cut(x: Tensor, sides: Iterable[slice]) -> Tensor:
    """Return a view of a part of the sides after the first two."""
    whole = slice(None)
    return x[(whole, whole, *sides)]


def _convolution(inputs: Tensor, weight: Tensor, bias: Tensor | None, *args: Any) -> Tensor:
    windows = _Windows(weight, args)
    sides = windows.sides(inputs)
    result = inputs.new_empty(len(inputs), windows.out_channels, *sides)
    for part in windows.parts(inputs):
        made = matmul(windows.rows(weight), windows.unfolded(inputs[part]))
        result[part] = made.view(windows.out_channels, -1, *sides).transpose(0, 1)
    return result if bias is None else result.add_(bias.view(-1, *[1] * len(sides)))


def _convolution_backward(
    gradient: Tensor, inputs: Tensor, weight: Tensor, bias_sizes: Any, *args: Any
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    *args, wanted = args  # type: ignore[assignment]
    windows = _Windows(weight, args)
    for_inputs = torch.empty_like(inputs, memory_format=torch.contiguous_format) if wanted[0] else None
    for_weight = windows.rows(torch.zeros_like(weight, memory_format=torch.contiguous_format)) if wanted[1] else None
    for part in windows.parts(inputs):
        dy = windows.grouped(gradient[part])
        if for_weight is not None:
            for_weight.add_(matmul(dy, windows.unfolded(inputs[part]).mT))
        if for_inputs is not None:
            for_inputs[part] = windows.folded(matmul(windows.rows(weight).mT, dy), inputs[part])
    for_bias = gradient.sum([0, *range(2, gradient.ndim)]) if wanted[2] else None
    return for_inputs, None if for_weight is None else for_weight.view(weight.shape), for_bias


_OURS: dict[str, Callable[..., Any]] = {
    "mm": _mm,
    "addmm": _addmm,
    "bmm": matmul,
    "baddbmm": _baddbmm,
    "mv": _mv,
    "addmv": _addmv,
    "dot": _dot,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}


def _tanh(x: Tensor) -> Tensor:
    grown = torch.expm1(2.0 * x.clamp(-15.0, 15.0))
    return grown / (grown + 2.0)


def _sqrt(x: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(np.sqrt(x.detach().numpy())))  # rounded correctly


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {  # by operations that torch computes itself, to 3e-7
    "exp": lambda x: x.sigmoid() / (-x).sigmoid(),
    "tanh": _tanh,
    "sqrt": _sqrt,
    "log": lambda x: torch.xlogy(torch.ones((), dtype=x.dtype), x),  # of the C library
}
"""Functions that torch leaves to MKL."""
