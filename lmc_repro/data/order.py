"""From a loader seed to the order of every epoch, and from nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lmc_repro.schemas.data import OrderRule


def epoch_order(n: int, loader_seed: int, epoch: int, rule: OrderRule = "philox") -> npt.NDArray[np.int64]:
    """Return the permutation of 0..n-1 in which a loader with `loader_seed` visits the samples of `epoch`.

    int64 [n]; a function of its arguments only, so batch size, workers and the point of resumption do not matter.

    - `philox`: stable argsort of n raw words of Philox keyed by (loader_seed, epoch). The raw stream and the seeding
      are what numpy promises to keep between versions; `permutation` is not.
    - `ffcv`: the rule of FFCV's RANDOM order, default_rng(loader_seed + epoch).permutation, for comparison with runs
      made that way. Seed 0 at epoch e + 1 and seed 1 at epoch e have the same order: not for independent seeds.
    """
    if rule == "philox":
        words = np.random.Philox(np.random.SeedSequence(loader_seed, spawn_key=(epoch,))).random_raw(n)
        return np.argsort(words, kind="stable")
    return np.random.default_rng(loader_seed + epoch).permutation(n)
