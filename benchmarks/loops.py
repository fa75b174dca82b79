"""The training loops compared: each function prepares one and returns an epoch of its runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import mnist
from benchmarks.modules import module
from benchmarks.networks import NETWORKS
from lmc_repro.config.run import LoaderKind

Batches = Iterable[tuple[Tensor, Tensor]]


def dataloader(network: str, batch: int, children: int, workers: int, quick: bool) -> Callable[[], None]:
    """A user's loop: torchvision's MNIST with transforms of each sample, a DataLoader, a module."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import MNIST
    from torchvision.transforms import Compose, Normalize, ToTensor

    found = mnist(NETWORKS[network].samples, quick=quick)
    info, train = found.info, found.train

    class Given(MNIST):  # type: ignore[misc]
        """torchvision's data set on arrays that are read already."""

        def __init__(self) -> None:
            self.data, self.targets = train.images[:, 0], train.labels
            self.transform, self.target_transform = Compose([ToTensor(), Normalize(info.mean, info.std)]), None

    # Workers stay for the next epoch (starting them is no part of the loop), and are forked, as a script's are.
    ways: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "fork"} if workers else {}
    loader: Any = DataLoader(Given(), batch, shuffle=True, num_workers=workers, **ways)
    return _epochs(network, children, lambda: loader)


def ffcv(network: str, batch: int, children: int, workers: int, quick: bool) -> Callable[[], None]:
    """FFCV's loader as its documentation has it, its file in the page cache, and a module."""
    from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import Squeeze, ToTensor

    from lmc_repro.data.beton import write_beton

    found = mnist(NETWORKS[network].samples, quick=quick)
    folder = tempfile.TemporaryDirectory()  # removed with the process: the closure below holds it
    path = Path(folder.name) / "train.beton"
    write_beton(path, found.train)
    pipelines = {"images": [NDArrayDecoder(), ToTensor()], "label": [IntDecoder(), ToTensor(), Squeeze(1)]}
    # ffcv gives torch as many threads as it has workers.
    loader = Loader(
        str(path), batch, num_workers=workers, os_cache=True, order=OrderOption.RANDOM, seed=0, pipelines=pipelines
    )
    mean, std = found.info.mean[0], found.info.std[0]

    def batches() -> Batches:
        assert folder
        for images, labels in loader:
            yield images.float().div_(255).sub_(mean).div_(std), labels

    return _epochs(network, children, batches)


def _epochs(network: str, children: int, batches: Callable[[], Batches]) -> Callable[[], None]:
    """Return an epoch of each run, one after another, as a script would train them."""
    nets = [module(network) for _ in range(children)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9) for net in nets]

    def epoch(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for inputs, labels in batches():
            loss = functional.cross_entropy(net(inputs), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def work() -> None:
        for net, optimizer in zip(nets, optimizers, strict=True):
            epoch(net, optimizer)

    return work


def ours(network: str, batch: int, child: int, loader: LoaderKind, quick: bool) -> Callable[[], None]:
    """This project's training of one run."""
    from benchmarks.ours import epochs, run_config
    from lmc_repro.common.files import sha256_file
    from lmc_repro.data.beton import write_beton
    from lmc_repro.data.dataset import data_digest
    from lmc_repro.data.status import write_status

    dataset = mnist(NETWORKS[network].samples, quick=quick)
    prepared = tempfile.TemporaryDirectory()
    if loader == "ffcv":
        dataset = replace(dataset, digest=data_digest(dataset.train, dataset.test))
        folder = Path(prepared.name) / dataset.info.name
        folder.mkdir()
        write_beton(folder / "train.beton", dataset.train)
        files = {"train.beton": sha256_file(folder / "train.beton")}
        write_status(folder, {"state": "ready", "digest": dataset.digest, "files": files})
    config = run_config("mnist", NETWORKS[network].model, batch, child)
    work = epochs([[config]], dataset, Path(prepared.name), loader)

    def epoch() -> None:
        assert prepared  # kept as long as the work
        work()

    return epoch
