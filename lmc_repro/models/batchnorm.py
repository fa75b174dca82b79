"""BatchNorm's running statistics, estimated anew at any weights: those of one batch of all samples, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lmc_repro.common.errors import LmcError


def running_norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the layers of a module with running statistics, by name."""
    layers = module.named_modules()
    return {name: layer for name, layer in layers if isinstance(layer, _BatchNorm) and layer.running_mean is not None}


def statistic(layer: str, name: str) -> str:
    """Return the name that a layer's buffer has in the whole module."""
    return f"{layer}.{name}" if layer else name


class _Reached(BaseException):  # BaseException, so that no `except Exception` of a module catches it
    """Raised at a layer whose statistics are still being counted: later layers depend on them."""


@dataclass
class _Moments:
    """Mean and sum of squared deviations of each channel, over `count` values (Chan et al. 1983)."""

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, x: Tensor) -> _Moments:
        """Return the moments [channels] of inputs [b, channels, ...]."""
        sides = [side for side in range(x.ndim) if side != 1]
        variance, mean = torch.var_mean(x, sides, correction=0)
        count = x.numel() // x.shape[1]
        return cls(count, mean.double(), variance.double() * count)

    def join(self, other: _Moments) -> None:
        """Add the values of `other`."""
        count, apart = self.count + other.count, other.mean - self.mean
        self.squares += other.squares + apart * apart * (self.count * other.count / count)
        self.mean += apart * (other.count / count)
        self.count = count


@torch.no_grad()
def estimated(
    norms: Mapping[str, _BatchNorm], batches: Iterable[Any], forward: Callable[[Mapping[str, Tensor], Any], object]
) -> dict[str, Tensor]:
    """Return running means and variances (unbiased, as BatchNorm keeps them) of all samples, by name.

    The result is that of one batch of all samples, however they are cut: a layer sees what the layers before it make
    of all samples, so one after another is counted, in a pass of its own that ends there. A single batch needs one
    pass for all.

    Args:
        norms: The layers, of a module in evaluation mode.
        batches: Gives the same samples each time it is gone through.
        forward: Called with statistics by name and a batch, runs the module with them in place of its own.

    Raises:
        LmcError: For a layer that sees one value per channel, or is called twice in a forward pass.
    """
    found = {}
    for layer, norm in norms.items():
        assert norm.running_mean is not None and norm.running_var is not None
        found[statistic(layer, "running_mean")] = torch.zeros_like(norm.running_mean)
        found[statistic(layer, "running_var")] = torch.ones_like(norm.running_var)
    single = sum(1 for _ in islice(batches, 2)) == 1
    left, called = set(norms), set[str]()
    here, unbiased = dict[str, _Moments](), dict[str, float]()

    def close() -> None:
        for layer, moments in here.items():
            if moments.count < 2:
                raise LmcError(f"{layer or 'the model'}: one value per channel has no variance; give more samples")
            found[statistic(layer, "running_mean")].copy_(moments.mean)
            found[statistic(layer, "running_var")].copy_(moments.squares / moments.count)  # as within a batch
            unbiased[layer] = moments.count / (moments.count - 1)
        left.difference_update(here)
        here.clear()

    def see(layer: str, x: Tensor) -> None:
        if layer in called:
            raise LmcError(f"{layer or 'the model'}: is called twice in a forward pass; give each place its own layer")
        called.add(layer)
        if layer in left:
            if layer in here:
                here[layer].join(_Moments.of(x))
            else:
                here[layer] = _Moments.of(x)
            if not single:
                raise _Reached
            close()

    with _watched(norms, see):
        while left:
            for batch in batches:
                called.clear()
                with suppress(_Reached):
                    forward(found, batch)
            if not here and not single:
                break  # no forward pass reaches the others
            close()
            if single:
                break
        for batch in islice(batches, 0 if single else 1):  # to its end: is a layer called again?
            called.clear()
            with suppress(_Reached):
                forward(found, batch)
    for layer, factor in unbiased.items():
        found[statistic(layer, "running_var")].mul_(factor)
    return found


@contextmanager
def _watched(norms: Mapping[str, _BatchNorm], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `see` with a layer's name and inputs before each of its calls."""

    def hook(layer: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, inputs: see(layer, inputs[0])

    handles = [norm.register_forward_pre_hook(hook(layer)) for layer, norm in norms.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
