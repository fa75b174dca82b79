"""The experiment in plain PyTorch, for comparison: imports nothing of the package, follows the same written rules.

python plain_torch.py     # trains a pair on random images of MNIST's shape and prints its curve and barrier
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ALPHAS = [i / 10 for i in range(11)]


@dataclass
class Setup:
    sizes: tuple[int, ...]
    optimizer: str
    lr: float
    batch: int
    epochs: int
    warmup_steps: int = 0
    eps: float = 1e-8
    mean: float = 0.1307
    std: float = 0.3081


def random_images(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, 1, 28, 28] and int64 [n]: noise with a bright row that tells the class."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 150, (n, 1, 28, 28)).astype(np.uint8)
    labels = random.integers(0, 10, n)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label + 3] = 255
    return images, labels


def make_network(sizes: tuple[int, ...], trainer_seed: int) -> nn.Sequential:
    """ReLU network; weights and biases uniform in +-1/sqrt(fan in), drawn layer by layer from one generator."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    generator = torch.Generator().manual_seed(trainer_seed)
    with torch.no_grad():
        for parameter, fan_in in zip(net.parameters(), [s for s in sizes[:-1] for _ in (0, 1)], strict=True):
            parameter.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return net


def shuffled(n: int, loader_seed: int, epoch: int) -> np.ndarray:
    """Sample i has the i-th raw word of a Philox stream of (seed, epoch); samples go in the order of their words."""
    stream = np.random.Philox(np.random.SeedSequence(entropy=loader_seed, spawn_key=(epoch,)))
    return np.array(sorted(range(n), key=list(map(int, stream.random_raw(n))).__getitem__))


def train(setup: Setup, images: np.ndarray, labels: np.ndarray, trainer_seed: int, loader_seed: int) -> nn.Sequential:
    net = make_network(setup.sizes, trainer_seed)
    if setup.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), lr=setup.lr, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(net.parameters(), lr=setup.lr, eps=setup.eps)
    x, y = to_inputs(setup, images), torch.from_numpy(labels)
    step = 0
    for epoch in range(setup.epochs):
        for chosen in torch.from_numpy(shuffled(len(x), loader_seed, epoch)).split(setup.batch):
            for group in optimizer.param_groups:
                group["lr"] = setup.lr * (min(1.0, step / setup.warmup_steps) if setup.warmup_steps else 1.0)
            loss = F.cross_entropy(net(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return net


def to_inputs(setup: Setup, images: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images).float() / 255 - setup.mean) / setup.std


@torch.no_grad()
def curve(setup: Setup, net_0: nn.Module, net_1: nn.Module, images: np.ndarray, labels: np.ndarray) -> list[int]:
    """Wrong predictions at each alpha of (1 - alpha) theta_0 + alpha theta_1."""
    between = make_network(setup.sizes, 0)
    wrong = []
    for alpha in ALPHAS:
        for p, p_0, p_1 in zip(between.parameters(), net_0.parameters(), net_1.parameters(), strict=True):
            p.copy_((1 - alpha) * p_0 + alpha * p_1)
        predictions = between(to_inputs(setup, images)).argmax(1).numpy()
        wrong.append(int((predictions != labels).sum()))
    return wrong


def barrier(wrong: list[int], n: int) -> float:
    """Eq. 1 in percentage points: the worst error on the way minus the mean of the ends."""
    errors = [100 * w / n for w in wrong]
    return max(errors) - (errors[0] + errors[-1]) / 2


if __name__ == "__main__":
    setup = Setup(sizes=(784, 50, 10), optimizer="adam", lr=0.005, batch=32, epochs=5)
    images, labels = random_images(300, seed=0)
    pair = [train(setup, images, labels, trainer_seed=0, loader_seed=seed) for seed in (0, 1)]
    wrong = curve(setup, pair[0], pair[1], images, labels)
    print(wrong, f"barrier {barrier(wrong, len(labels)):.2f}")
