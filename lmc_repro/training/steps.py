"""The steps of an epoch: from a loader's batches, or wholly on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.data.augment import augmented, epoch_view, stack_draws
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.data.loaders import StackLoader, count_steps, open_loader
from lmc_repro.data.order import epoch_orders
from lmc_repro.training.optimizer import Number
from lmc_repro.training.schedule import learning_rates
from lmc_repro.training.step import TrainStep

WARM_UP = 3  # calls before the capture: they load libraries and allocate workspaces, which a capture must not do


class EpochSteps:
    """Takes the steps of whole epochs with a `TrainStep`, for the C runs of a stack; base of both kinds."""

    def __init__(self, step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, steps_per_epoch: int) -> None:
        self._step, self._configs, self._dataset, self.steps_per_epoch = step, configs, dataset, steps_per_epoch
        self._device = step.weights.device
        self._sums = torch.zeros(len(configs), dtype=torch.float64, device=self._device)
        self._seen = 0

    def epoch(self, epoch: int) -> Iterator[int]:
        """Take the steps of `epoch` (from 0), yielding how many are done after each."""
        raise NotImplementedError

    def batch_losses(self) -> tuple[list[float], int]:
        """Return each run's mean loss over the samples of the last epoch, and their number."""
        return [total / self._seen for total in self._sums.tolist()], self._seen


class LoaderSteps(EpochSteps):
    """Steps on a loader's batches, with rates from Python: for the CPU and for FFCV."""

    def __init__(self, step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, loader: StackLoader) -> None:
        super().__init__(step, configs, dataset, loader.steps_per_epoch)
        self._loader = loader

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
            loss = self._step(inputs, labels.to(self._device), torch.from_numpy(rates).to(inputs).unsqueeze(1), number)
            self._sums += loss.double() * labels.shape[1]
            self._seen += labels.shape[1]
            yield k + 1


class DeviceSteps(EpochSteps):
    """Steps that gather resident images by a counter that lies on the device too: normalised, or bytes to augment.

    A graph freezes every number that Python gives, so orders, draws and the optimizer's numbers of all of an epoch's
    steps are copied to the device before it begins; a step finds its own by the counter and moves it on. `dataset` is
    on the device of the weights. With `graphs` None, as on a CPU, the same function runs eagerly.
    """

    def __init__(
        self, step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, graphs: Graphs | None = None
    ) -> None:
        config, device, n = configs[0], step.weights.device, len(dataset.train)
        super().__init__(step, configs, dataset, count_steps(n, config.batch_size, config.data.drop_last))
        self._graphs, self._n, self._batch = graphs, n, min(config.batch_size, n)
        # A batch of ready values is half as many bytes as one that is gathered, converted and scaled.
        images = dataset.train.images
        ready = images if config.data.augment else normalise(images, dataset.info)
        self._rows = ready.reshape(n, -1)
        self._order = torch.zeros(len(configs), n, dtype=torch.int64, device=device)
        self._draws = [torch.zeros_like(drawn, device=device) for drawn in self._drawn(0)]
        self._tables = [torch.zeros_like(table, device=device) for table in self._numbers(0)]
        self._places = torch.arange(self._batch, device=device)
        self._done = torch.zeros(1, dtype=torch.int64, device=device)

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
        self._seen = 0
        for k in range(self.steps_per_epoch):
            size = min(self._batch, self._n - k * self._batch)  # the last batch has what is left
            self._seen += size
            if self._graphs is None:
                self._take(size)
            else:
                self._graphs.run(size, self._take)
            yield k + 1

    def _take(self, size: int) -> None:
        """Take the step that the counter stands at, on `size` samples per run, by the same operations in every call."""
        info, augment = self._dataset.info, self._configs[0].data.augment
        indices = self._order.index_select(1, self._done * self._batch + self._places[:size])
        chosen = indices.view(-1)
        images = self._rows.index_select(0, chosen).view(*indices.shape, *info.shape)
        labels = self._dataset.train.labels.index_select(0, chosen).view(indices.shape)
        inputs = augmented(images, indices, self._draws, augment, info) if augment else images
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


class Graphs:
    """One graph per size that a function is called with; all share their memory.

    The first calls run eagerly, on the stream of the capture. They are the first steps of the training, so nothing is
    undone afterwards. The function leaves its results in tensors of its own, made before.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._calls: dict[int, int] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def run(self, size: int, function: Callable[[int], None]) -> None:
        """Call function(size), or replay its graph."""
        if (graph := self._graphs.get(size)) is None:
            if self._calls.setdefault(size, 0) < WARM_UP:
                self._calls[size] += 1
                self._stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self._stream):
                    function(size)
                torch.cuda.current_stream().wait_stream(self._stream)
                return
            graph = self._graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                function(size)
        graph.replay()


def open_steps(
    step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, prepared_dir: Path, loader: LoaderKind
) -> EpochSteps:
    """Return the steps for the weights' device: CUDA graphs on a GPU, a loader's batches on a CPU."""
    device = step.weights.device
    if device.type == "cuda":
        return DeviceSteps(step, configs, dataset, Graphs(device))
    config, seeds = configs[0], [c.seeds for c in configs]
    size, data = config.batch_size, config.data
    opened = open_loader(loader, dataset, prepared_dir, seeds, size, data.drop_last, data.order)
    return LoaderSteps(step, configs, dataset, opened)
