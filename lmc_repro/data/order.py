"""Sample orders: a function of the loader seed and epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmc_repro.config.run import OrderRule


def epoch_order(n: int, loader_seed: int, epoch: int, rule: OrderRule = "philox") -> npt.NDArray[np.int64]:
    """Return the permutation of 0..n-1 in which a loader with `loader_seed` visits the samples of `epoch`.

    int64 [n]; a function of its arguments only, so batch size, workers and the point of resumption do not matter.

    - `philox`: stable argsort of n raw words of Philox keyed by (loader_seed, epoch). The raw stream and the seeding
      are what numpy promises to keep between versions; `permutation` is not.
    - `ffcv`: the rule of FFCV's RANDOM order, default_rng(loader_seed + epoch).permutation, for comparison with runs
      made that way. Seed 0 at epoch e + 1 and seed 1 at epoch e have the same order: not for independent seeds.
    """
    if rule == "philox":
        return np.argsort(_words(n, loader_seed, epoch), kind="stable")
    return np.random.default_rng(loader_seed + epoch).permutation(n)


def epoch_orders(
    n: int, loader_seeds: Sequence[int], epoch: int, rule: OrderRule, device: torch.device | None = None
) -> Tensor:
    """Return the `epoch_order` of each of C loader seeds as int64 [C, n] on `device`, sorted there."""
    seeds = list(dict.fromkeys(loader_seeds))  # a stack may hold runs of several cells, which have the same seeds
    if rule != "philox":
        orders = torch.from_numpy(np.stack([epoch_order(n, seed, epoch, rule) for seed in seeds])).to(device)
    else:
        words = np.stack([_words(n, seed, epoch) for seed in seeds])
        words ^= np.uint64(1 << 63)  # signed order then equals unsigned order
        orders = torch.argsort(torch.from_numpy(words.view(np.int64)).to(device), dim=1, stable=True)
    return orders if len(seeds) == len(loader_seeds) else orders[[seeds.index(seed) for seed in loader_seeds]]


@lru_cache(maxsize=256)  # the cells of a study have the same loader seeds
def orders_sha256(n: int, loader_seeds: tuple[int, ...], rule: OrderRule, device: torch.device | None = None) -> str:
    """Return the sha256 (hex) of the orders of epochs 0, 1, ... as little-endian uint32; one loader seed per epoch."""
    digest = hashlib.sha256()
    for epoch, seed in enumerate(loader_seeds):
        (order,) = epoch_orders(n, [seed], epoch, rule, device)
        digest.update(order.cpu().numpy().astype(np.dtype("<u4")).tobytes())
    return digest.hexdigest()


def _words(n: int, loader_seed: int, epoch: int) -> npt.NDArray[np.uint64]:
    return np.random.Philox(np.random.SeedSequence(loader_seed, spawn_key=(epoch,))).random_raw(n)
