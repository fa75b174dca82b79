"""An epoch's steps, one after another: from a loader's batches, or wholly on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from lmc_repro.data.augment import epoch_view
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.loaders import StackLoader
from lmc_repro.schemas.run import RunConfig
from lmc_repro.training.schedule import learning_rates
from lmc_repro.training.step import TrainStep


class EpochSteps(Protocol):
    """Takes the steps of whole epochs with a `TrainStep`, for the C children of a stack."""

    steps_per_epoch: int

    def epoch(self, epoch: int) -> Iterator[int]:
        """Take the steps of `epoch` (from 0), yielding how many are done after each."""
        ...

    def batch_losses(self) -> tuple[list[float], int]:
        """Return each child's mean loss over the samples of the last epoch, and their number."""
        ...


class LoaderSteps:
    """Steps on what a loader gives, with rates from Python: the CPU's way, and that of FFCV."""

    def __init__(self, step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, loader: StackLoader) -> None:
        self._step, self._configs, self._dataset, self._loader = step, configs, dataset, loader
        self.steps_per_epoch = loader.steps_per_epoch
        self._device = step.weights.device
        self._sums = torch.zeros(len(configs), dtype=torch.float64, device=self._device)
        self._seen = 0

    def epoch(self, epoch: int) -> Iterator[int]:
        """See `EpochSteps.epoch`."""
        self._sums.zero_()
        self._seen = 0
        seeds, augment = [c.seeds for c in self._configs], self._configs[0].data.augment
        view = epoch_view(augment, self._dataset.info, len(self._dataset.train), seeds, epoch, self._device)
        for k, (images, labels, indices) in enumerate(self._loader.epoch(epoch)):
            number = epoch * self.steps_per_epoch + k
            rates = learning_rates(self._configs, number, self.steps_per_epoch)
            inputs = view(images.to(self._device), indices)
            loss = self._step(
                inputs, labels.to(self._device), torch.from_numpy(rates).to(inputs).unsqueeze(1), number
            )
            self._sums += loss.double() * labels.shape[1]
            self._seen += labels.shape[1]
            yield k + 1

    def batch_losses(self) -> tuple[list[float], int]:
        """See `EpochSteps.batch_losses`."""
        return [total / self._seen for total in self._sums.tolist()], self._seen
