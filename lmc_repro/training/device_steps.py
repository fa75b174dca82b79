"""An epoch's steps wholly on a device: what a step reads lies in tensors there, so that a CUDA graph can hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lmc_repro.data.augment import augmented, stack_draws
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.data.loaders import count_steps
from lmc_repro.data.order import epoch_orders
from lmc_repro.schemas.run import RunConfig
from lmc_repro.training.graphs import Graphs
from lmc_repro.training.optimizer import Number
from lmc_repro.training.schedule import learning_rates
from lmc_repro.training.step import TrainStep


class DeviceSteps:
    """Steps that gather, normalise and augment resident uint8 images by a counter that lies on the device too.

    A graph freezes every number that Python gives, so orders, draws and the optimizer's numbers of all of an epoch's
    steps are copied to the device before it begins; a step finds its own by the counter and moves it on. `dataset` is
    on the device of the weights. With `graphs` None, as on a CPU, the same function runs eagerly.
    """

    def __init__(
        self, step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, graphs: Graphs | None = None
    ) -> None:
        config, device = configs[0], step.weights.device
        self._step, self._configs, self._dataset, self._graphs = step, configs, dataset, graphs
        self._n, children = len(dataset.train), len(configs)
        self._batch = min(config.batch_size, self._n)
        self.steps_per_epoch = count_steps(self._n, config.batch_size, config.data.drop_last)
        self._rows = dataset.train.images.reshape(self._n, -1)
        self._order = torch.zeros(children, self._n, dtype=torch.int64, device=device)
        self._draws = [torch.zeros_like(drawn, device=device) for drawn in self._drawn(0)]
        self._tables = [torch.zeros_like(table, device=device) for table in self._numbers(0)]
        self._places = torch.arange(self._batch, device=device)
        self._done = torch.zeros(1, dtype=torch.int64, device=device)
        self._sums = torch.zeros(children, dtype=torch.float64, device=device)

    def epoch(self, epoch: int) -> Iterator[int]:
        """See `EpochSteps.epoch`."""
        loader_seeds, rule = [c.seeds.loader_at(epoch) for c in self._configs], self._configs[0].data.order
        self._order.copy_(epoch_orders(self._n, loader_seeds, epoch, rule, self._order.device))
        for draws, drawn in zip(self._draws, self._drawn(epoch), strict=True):
            draws.copy_(drawn)
        for table, numbers in zip(self._tables, self._numbers(epoch), strict=True):
            table.copy_(numbers)
        self._done.zero_()
        self._sums.zero_()
        for k in range(self.steps_per_epoch):
            size = self._size(k)
            if self._graphs is None:
                self._take(size)
            else:
                self._graphs.run(size, self._take)
            yield k + 1

    def batch_losses(self) -> tuple[list[float], int]:
        """See `EpochSteps.batch_losses`."""
        seen = sum(self._size(k) for k in range(self.steps_per_epoch))
        return [total / seen for total in self._sums.tolist()], seen

    def _size(self, k: int) -> int:
        """Return the samples of step `k`: a batch, or what is left for the last."""
        return min(self._batch, self._n - k * self._batch)

    def _take(self, size: int) -> None:
        """Take the step that the counter stands at, on `size` samples a child: the same work in every call."""
        info, augment = self._dataset.info, self._configs[0].data.augment
        indices = self._order.index_select(1, self._done * self._batch + self._places[:size])
        chosen = indices.view(-1)
        images = self._rows.index_select(0, chosen).view(*indices.shape, *info.shape)
        labels = self._dataset.train.labels.index_select(0, chosen).view(indices.shape)
        inputs = augmented(images, indices, self._draws, augment, info) if augment else normalise(images, info)
        numbers: list[Number] = [table.index_select(0, self._done)[0] for table in self._tables]
        loss = self._step.take(inputs, labels, numbers)
        self._sums += loss.double() * size
        self._done += 1

    def _drawn(self, epoch: int) -> list[Tensor]:
        """Return the augmentation's draws of an epoch; none where nothing is augmented."""
        augment, seeds = self._configs[0].data.augment, [c.seeds for c in self._configs]
        return stack_draws(augment, self._dataset.info, self._n, seeds, epoch) if augment else []

    def _numbers(self, epoch: int) -> list[Tensor]:
        """Return the optimizer's numbers of an epoch's steps: a tensor [steps, ...] each, float32 on the CPU."""
        steps = []
        for k in range(self.steps_per_epoch):
            number = epoch * self.steps_per_epoch + k
            rates = torch.from_numpy(learning_rates(self._configs, number, self.steps_per_epoch)).float().unsqueeze(1)
            steps.append(self._step.optimizer.numbers(rates, number))
        columns = zip(*steps, strict=True)
        return [torch.stack([torch.as_tensor(x, dtype=torch.float32) for x in column]) for column in columns]
