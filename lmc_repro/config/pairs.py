"""Pair kinds: which runs of a cell are compared, at which epochs; each a function from a cell's seeds to its pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.config.base import epoch_text
from lmc_repro.config.load import validate
from lmc_repro.config.own_code import own_object, short_name
from lmc_repro.config.plan import Pair
from lmc_repro.config.registry import PAIR_KINDS, find
from lmc_repro.config.run import RunConfig
from lmc_repro.config.study import Settings

_TAKEN_BY = {
    "share_noise_until": ("noise", "init", "spawn"),
    "spawn_at": ("spawn",),
    "snapshot_epochs": ("snapshots",),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class PairSource:
    """The seeds and settings from which a pair kind makes a cell's pairs.

    `template` holds RunConfig's fields without seeds, as plain JSON values; `trainers` the trainer seeds; `replicas`
    the number of runs of each; `settings` those of the cell; `n_train` the number of training images.
    """

    template: dict[str, Any]
    trainers: tuple[int, ...]
    replicas: int
    settings: Settings
    n_train: int

    @property
    def augmented(self) -> bool:
        """Whether there are augmentation draws."""
        return self.template["data"]["augment"] is not None

    def run(
        self, trainer: int, loader: int, augmentation: int | None = None, *, until: int = 0, shared: int = 0
    ) -> RunConfig:
        """Return the run of these seeds.

        Args:
            trainer: The trainer seed.
            loader: The loader seed.
            augmentation: The augmentation seed, by default equal to `loader`; unused where nothing is augmented.
            until: The number of epochs of shared noise.
            shared: The loader and augmentation seed of these epochs.
        """
        own = loader if augmentation is None or not self.augmented else augmentation
        seeds: dict[str, Any] = {"trainer": trainer, "loader": loader, "augmentation": own if self.augmented else None}
        # The run whose own noise is the shared one is the plain run: equal configs stay equal.
        if until and {loader, own} != {shared}:
            seeds["early"] = {"until": until, "loader": shared, "augmentation": shared if self.augmented else None}
        return validate(RunConfig, {**self.template, "seeds": seeds}, "a run")

    def combined(self, make: Callable[[int, int, int], RunConfig]) -> Iterator[Pair]:
        """Yield all pairs of the replicas of each trainer seed.

        Args:
            make: From trainer seed, the noise seed of its first replica, and the replica's own to the replica.
        """
        for j in self.trainers:
            first = self.replicas * j
            runs = [make(j, first, first + i) for i in range(self.replicas)]
            for a, b in combinations(range(self.replicas), 2):
                yield Pair(f"{j}" if self.replicas == 2 else f"{j}-{a}-{b}", (runs[a], runs[b]))


PairKind = Callable[[PairSource], Iterable[Pair]]


def make_pairs(kind: str, source: PairSource) -> tuple[Pair, ...]:
    """Return a cell's pairs.

    Args:
        kind: A name of PAIR_KINDS, or FILE.py:NAME.
        source: The cell's seeds and settings.

    Raises:
        LmcError: The kind refuses the cell, fails, or makes no valid pairs; one line.
    """
    for name, kinds in _TAKEN_BY.items():
        if kind in PAIR_KINDS and kind not in kinds and getattr(source.settings, name) is not None:
            raise LmcError(f"{name}: found with pair: {kind}, allowed: {', '.join(kinds)}")
    build: PairKind = find(PAIR_KINDS[kind]) if kind in PAIR_KINDS else own_object(kind)
    who = f"pair: {short_name(kind)}"
    try:
        pairs = tuple(build(source))
    except LmcError:
        raise
    except Exception as error:
        raise LmcError(f"{who}: {type(error).__name__}: {error}") from None
    if not pairs or not all(isinstance(pair, Pair) for pair in pairs):
        raise LmcError(f"{who}: found {pairs!r:.60}, expected one Pair or more")
    names = [pair.name for pair in pairs]
    if len({*names}) < len(names) or not all(map(_NAME.fullmatch, names)):
        raise LmcError(f"{who}: names: found {', '.join(names):.60}, allowed: distinct ones that match {_NAME.pattern}")
    for pair in pairs:
        for run, epoch in zip(pair.runs, pair.epochs, strict=True):
            if run.without_seeds() != source.template:
                raise LmcError(f"{who}: pair {pair.name}: a run of another config than its cell's")
            if epoch is not None and epoch not in run.evaluate_at:
                evaluations = ", ".join(map(epoch_text, run.evaluate_at))
                raise LmcError(f"{who}: epoch: found {epoch:g}, allowed: {evaluations} (evaluate_at)")
    return pairs


def noise(cell: PairSource) -> Iterable[Pair]:
    """One initialisation, other SGD noise; shared before epoch `share_noise_until`, where that is given."""
    until, epochs = cell.settings.share_noise_until, cell.template["epochs"]
    if until is not None and not 0 < until < epochs:
        raise LmcError(
            f"share_noise_until: found {until}, allowed: 1 to {epochs - 1} (no SGD noise is left where all {epochs} "
            "epochs share it)"
        )
    return _spawned(cell, until or 0)


def spawn(cell: PairSource) -> Iterable[Pair]:
    """One trajectory until epoch `spawn_at`, then each run its own noise: at 0 a noise pair, at the last one network.

    Frankle et al. 2020 (arXiv 1912.05671). `share_noise_until` is another name of the setting.
    """
    given = [k for k in (cell.settings.spawn_at, cell.settings.share_noise_until) if k is not None]
    if len(given) != 1 or not 0 <= given[0] <= cell.template["epochs"]:
        raise LmcError(f"spawn_at: found {given or 'nothing'}, allowed: one of 0 to {cell.template['epochs']}")
    return _spawned(cell, given[0])


def _spawned(cell: PairSource, until: int) -> Iterable[Pair]:
    if not cell.augmented:
        _other_batches(cell)
    return cell.combined(lambda trainer, first, own: cell.run(trainer, own, until=until, shared=first))


def init(cell: PairSource) -> Iterable[Pair]:
    """Other initialisations, other SGD noise."""
    _two_replicas(cell, "the runs of an init pair share no trainer seed")
    until = cell.settings.share_noise_until or 0
    return cell.combined(lambda trainer, first, own: cell.run(own, own, until=until, shared=first))


def order(cell: PairSource) -> Iterable[Pair]:
    """One initialisation and equal augmentation draws, other orders."""
    _drawn(cell, "order")
    _other_batches(cell)
    return cell.combined(lambda trainer, first, own: cell.run(trainer, own, first))


def augmentation(cell: PairSource) -> Iterable[Pair]:
    """One initialisation and equal orders, other augmentation draws."""
    _drawn(cell, "augmentation")
    return cell.combined(lambda trainer, first, own: cell.run(trainer, first, own))


def snapshots(cell: PairSource) -> Iterable[Pair]:
    """One run, theta_0 and theta_1 at its two `snapshot_epochs`; the run is the first of a noise pair."""
    _two_replicas(cell, "a snapshots pair is of one run")
    if (epochs := cell.settings.snapshot_epochs) is None:
        raise LmcError("snapshot_epochs: missing; give two epochs of evaluate_at")
    return [Pair(f"{j}", (run, run), epochs) for j in cell.trainers for run in [cell.run(j, 2 * j)]]


def _other_batches(cell: PairSource) -> None:
    """Raise LmcError where every order gives the same batches."""
    if cell.template["batch_size"] >= cell.n_train:
        raise LmcError(
            f"batch and data.dataset: found a batch of {cell.template['batch_size']}, which holds all {cell.n_train} "
            f"training images of {cell.template['data']['dataset']}: no SGD noise: same batches; choose a smaller batch"
        )


def _drawn(cell: PairSource, kind: str) -> None:
    if not cell.augmented:
        raise LmcError(f"pair: found {kind} where nothing is augmented, allowed: noise; or set augment")


def _two_replicas(cell: PairSource, why: str) -> None:
    if cell.replicas != 2:
        raise LmcError(f"replicas: found {cell.replicas}, allowed: 2 ({why})")
