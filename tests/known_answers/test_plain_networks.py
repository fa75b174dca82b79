"""Trained networks on patches against plain torch modules, optimizers and orders: weights after twenty steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import ADAM, SGD, run_config, tiny_dataset, train, weights_at
from known_answers.plain_networks import PlainAttention, PlainConv, PlainLocal
from known_answers.plain_torch import shuffled

SHAPE, CLASSES, N, BATCH, EPOCHS = (3, 4, 6), 4, 53, 12, 4  # 5 steps an epoch, the last of 5 images

NETWORKS: dict[str, tuple[dict[str, Any], Any]] = {
    "conv": ({"kind": "conv", "filters": 7, "kernel": 2}, lambda: PlainConv(SHAPE, CLASSES, 7, 2)),
    "local": ({"kind": "local", "filters": 7, "kernel": 2}, lambda: PlainLocal(SHAPE, CLASSES, 7, 2)),
    "attention": (
        {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 5},
        lambda: PlainAttention(SHAPE, CLASSES, 2, 3, 5),
    ),
}
# ADAM divides by the gradient's size: with its usual eps, one that is zero but for rounding decides a step.
STEADY_ADAM = {**ADAM, "eps": 1e-4}


@pytest.mark.parametrize("optimizer", [SGD, STEADY_ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("model, make", NETWORKS.values(), ids=NETWORKS.keys())
def test_weights(model: dict[str, Any], make: Any, optimizer: dict[str, Any], tmp_path: Path) -> None:
    dataset = tiny_dataset(n_train=N, shape=SHAPE, classes=CLASSES)
    seeds = [{"trainer": 3, "loader": 6}, {"trainer": 4, "loader": 7}]
    more = {"batch_size": BATCH, "epochs": EPOCHS, "evaluate_at": [0, EPOCHS]}
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
            for chosen in torch.from_numpy(shuffled(N, seed["loader"], epoch)).split(BATCH):
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
