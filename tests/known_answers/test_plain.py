"""The package against plain torch modules and optimizers that share no code with it: weights, curve, barrier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ADAM, SGD, final_weights, run_config, tiny_dataset, train, weights_at
from known_answers import plain_torch
from known_answers.plain_networks import PlainAttention, PlainConv, PlainLocal
from known_answers.plain_torch import Setup, shuffled
from torch import Tensor

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.path import path_curves
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset, Split, data_digest
from lmc_repro.models.registry import build_model

# ADAM divides by the gradient's size: with its usual eps, one that is zero but for rounding decides a step.
STEADY_ADAM = {**ADAM, "eps": 1e-5}
N, BATCH, EPOCHS = 150, 32, 4  # 5 steps an epoch, the last of 22 images: 20 steps


def mnist_shaped() -> Dataset:
    splits = []
    for n, seed in ((N, 1), (90, 2)):
        images, labels = plain_torch.random_images(n, seed)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(labels)))
    info = replace(dataset_info("mnist"), n_train=N, n_test=90, digest="")
    return Dataset(info, splits[0], splits[1], data_digest(splits[0], splits[1]))


def arrays(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return split.images.numpy(), split.labels.numpy()


def named(net: torch.nn.Sequential) -> dict[str, Tensor]:
    """Return the script's weights under the package's names."""
    layers = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    return {
        f"layers.{i}.{key}": value.detach() for i, layer in enumerate(layers) for key, value in layer.named_parameters()
    }


def config(
    width: int, depth: int, optimizer: dict[str, Any], warmup_epochs: int = 0, trainer: int = 0, loader: int = 0
) -> RunConfig:
    return run_config(
        data={"dataset": "mnist"}, model={"depth": depth, "width": width, "slope": 0.0}, optimizer=optimizer,
        schedule={"warmup_epochs": warmup_epochs}, batch_size=BATCH, epochs=EPOCHS, evaluate_at=[EPOCHS],
        seeds={"trainer": trainer, "loader": loader},
    )  # fmt: skip


@pytest.mark.parametrize(
    "optimizer, warmup_epochs",
    [(SGD, 0), (SGD, 2), (STEADY_ADAM, 0), (STEADY_ADAM, 3)],
    ids=["sgd", "sgd-warm", "adam", "adam-warm"],
)
@pytest.mark.parametrize("width, depth", [(100, 2), (40, 4)])
def test_weights(width: int, depth: int, optimizer: dict[str, Any], warmup_epochs: int, tmp_path: Path) -> None:
    dataset = mnist_shaped()
    seeds = [(3, 6), (3, 7)]
    folders = train([config(width, depth, optimizer, warmup_epochs, *pair) for pair in seeds], dataset, tmp_path)
    sizes, eps = (784, *[width] * (depth - 1), 10), optimizer.get("eps", 0.0)
    setup = Setup(sizes, optimizer["kind"], optimizer["lr"], BATCH, EPOCHS, warmup_epochs * 5, eps)
    for folder, (trainer, loader) in zip(folders, seeds, strict=True):
        net = plain_torch.train(setup, *arrays(dataset.train), trainer, loader)
        for name, expected in named(net).items():
            torch.testing.assert_close(final_weights(folder)[name], expected, rtol=1e-5, atol=1e-5)


def test_curve_and_barrier() -> None:
    dataset = mnist_shaped()
    setup = Setup(sizes=(784, 50, 10), optimizer="adam", lr=0.005, batch=BATCH, epochs=EPOCHS)
    nets = [plain_torch.train(setup, *arrays(dataset.train), seed, seed) for seed in (0, 1)]  # of two initialisations
    model = build_model(config(50, 2, ADAM).model, dataset.info)
    curves = path_curves(model, named(nets[0]), named(nets[1]), dataset, 11)
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        wrong = plain_torch.curve(setup, nets[0], nets[1], *arrays(split))
        assert len(set(wrong)) > 3  # not a flat line that anything would match
        assert list(curves[name].wrong) == wrong
        found = barriers(curves, name, 10).barrier
        assert found == pytest.approx(plain_torch.barrier(wrong, len(split)), abs=1e-9) and found > 0


SHAPE, CLASSES = (3, 4, 6), 4


NETWORKS: dict[str, tuple[dict[str, Any], Any]] = {
    "conv": ({"kind": "conv", "filters": 7, "kernel": 2}, lambda: PlainConv(SHAPE, CLASSES, 7, 2)),
    "local": ({"kind": "local", "filters": 7, "kernel": 2}, lambda: PlainLocal(SHAPE, CLASSES, 7, 2)),
    "attention": (
        {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 5},
        lambda: PlainAttention(SHAPE, CLASSES, 2, 3, 5),
    ),
}


@pytest.mark.parametrize("optimizer", [SGD, {**ADAM, "eps": 1e-4}], ids=["sgd", "adam"])
@pytest.mark.parametrize("model, make", NETWORKS.values(), ids=NETWORKS.keys())
def test_weights_of_networks_on_patches(
    model: dict[str, Any], make: Any, optimizer: dict[str, Any], tmp_path: Path
) -> None:
    dataset = tiny_dataset(n_train=53, shape=SHAPE, classes=CLASSES)
    seeds = [{"trainer": 3, "loader": 6}, {"trainer": 4, "loader": 7}]
    more = {"batch_size": 12, "epochs": EPOCHS, "evaluate_at": [0, EPOCHS]}
    configs = [run_config(model=model, optimizer=optimizer, seeds=seed, **more) for seed in seeds]
    inputs = (dataset.train.images.float() / 255 - 0.3) / 0.25
    for folder, seed in zip(train(configs, dataset, tmp_path), seeds, strict=True):
        net = make()
        net.load(weights_at(folder, 0))
        parameters = [p for p in net.parameters() if p.requires_grad]
        if optimizer["kind"] == "sgd":
            steps: torch.optim.Optimizer = torch.optim.SGD(parameters, lr=optimizer["lr"], momentum=0.9)
        else:
            steps = torch.optim.Adam(parameters, lr=optimizer["lr"], eps=optimizer["eps"])
        for epoch in range(EPOCHS):
            for chosen in torch.from_numpy(shuffled(53, seed["loader"], epoch)).split(12):
                loss = F.cross_entropy(net(inputs[chosen]), dataset.train.labels[chosen])
                steps.zero_grad()
                loss.backward()
                steps.step()
        found, first = weights_at(folder, EPOCHS), weights_at(folder, 0)
        expected = net.named()
        assert expected.keys() == found.keys()
        for name, weight in expected.items():
            torch.testing.assert_close(found[name], weight.detach(), rtol=1e-4, atol=2e-5, msg=name)
            assert not torch.allclose(found[name], first[name], rtol=1e-3, atol=2e-4), f"{name} has not moved"
