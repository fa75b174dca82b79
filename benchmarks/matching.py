"""Weight and activation matching of untrained networks, rebasin of PyPI beside ours where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.options import Options

MLP = {"kind": "mlp", "depth": 4, "width": 512, "slope": 0.0}
"""784-512-512-512-10."""

RESNET = {"kind": "module", "module": f"{Path(__file__).parents[1] / 'examples' / 'lab' / 'networks.py'}:resnet20"}
DIGITS = {"kind": "mlp", "depth": 8, "width": 128, "slope": 0.0}
POINTS = 11


def measure(options: Options) -> dict[str, Any]:
    """Return CPU seconds and distances, and `aligned_ratio`, of the comparison of an aligned pair to a plain one."""
    mlp = {**MLP, "width": 16} if options.quick else MLP
    resnet = {**RESNET, "options": {"width": 4 if options.quick else 16}}
    digits = {**DIGITS, "depth": 2} if options.quick else DIGITS
    ways = {
        "matching": [Task("benchmarks.matching:weights", {"dataset": "mnist", "model": mlp})],
        "matching_resnet": [Task("benchmarks.matching:weights", {"dataset": "cifar10", "model": resnet})],
        "matching_activations": [Task("benchmarks.matching:activations", {"model": mlp, "quick": options.quick})],
        "plain": [Task("benchmarks.matching:comparison", {"model": digits, "align": "none"})],
        "aligned": [Task("benchmarks.matching:comparison", {"model": digits, "align": "weights"})],
    }
    if find_spec("rebasin") is not None:
        ways["matching_rebasin"] = [Task("benchmarks.matching:rebasin", {"model": mlp})]
    turns = take_turns(ways, min(options.repeats, 5))
    found: dict[str, Any] = {f"{way}_seconds": turn["cpu_seconds"] for way, turn in turns.items()}
    found["aligned_ratio"] = found.pop("aligned_seconds")["median"] / found.pop("plain_seconds")["median"]
    for way, turn in turns.items():
        if turn["values"][0] is not None:
            found[f"{way}_distance"] = dict(zip(("before", "after"), turn["values"][0], strict=True))
    return found


def weights(dataset: str, model: dict[str, Any]) -> Callable[[], tuple[float, float]]:
    """Return weight matching; it returns the distance before and after."""
    from lmc_repro.barriers.alignment import permuted
    from lmc_repro.barriers.matching import match_weights

    network, (theta_0, theta_1) = _two(dataset, model)

    def work() -> tuple[float, float]:
        axes = network.axes()
        moved = permuted(theta_1, axes, match_weights(axes, theta_0, theta_1))
        return _distance(theta_0, theta_1), _distance(theta_0, moved)

    return work


def activations(model: dict[str, Any], quick: bool) -> Callable[[], tuple[float, float]]:
    """Return activation matching on 10,000 images of MNIST's shape; it returns the distance before and after."""
    from benchmarks.data import mnist
    from lmc_repro.barriers.activations import IMAGES
    from lmc_repro.barriers.matching import activation_matching

    network, (theta_0, theta_1) = _two("mnist", model)
    dataset = mnist(IMAGES, 100, quick=quick)

    def work() -> tuple[float, float]:
        return _distance(theta_0, theta_1), _distance(
            theta_0, activation_matching(network, theta_0, theta_1, dataset, 0)
        )

    return work


def rebasin(model: dict[str, Any]) -> Callable[[], tuple[float, float]]:
    """Return rebasin's coordinate descent on the same two networks; it returns the distance before and after."""
    import copy
    from itertools import pairwise

    import torch
    from rebasin import PermutationCoordinateDescent  # type: ignore[import-not-found,unused-ignore]
    from torch import nn

    _, ends = _two("mnist", model)
    sizes, networks = [784, *[model["width"]] * (model["depth"] - 1), 10], []
    for theta in ends:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        networks.append(nn.Sequential(*layers[:-1]))
        networks[-1].load_state_dict(dict(zip(networks[-1].state_dict(), theta.values(), strict=True)))

    def work() -> tuple[float, float]:
        moved = copy.deepcopy(networks[1])
        PermutationCoordinateDescent(networks[0], moved, torch.zeros(1, 784)).rebasin()
        first, second, third = (dict(net.state_dict()) for net in (*networks, moved))
        return _distance(first, second), _distance(first, third)

    return work


def comparison(model: dict[str, Any], align: str) -> Callable[[], None]:
    """Return the comparison of two networks on digits: alignment, its check, and the curves of both splits."""
    from lmc_repro.barriers.methods import path_methods
    from lmc_repro.barriers.path import path_curves
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.config.path import PathConfig
    from lmc_repro.data.dataset import Dataset
    from lmc_repro.data.readers import read_arrays

    network, (theta_0, theta_1) = _two("digits", model)
    dataset = Dataset(dataset_info("digits"), *read_arrays(dataset_info("digits"), Path("unused")), "")
    methods = path_methods(PathConfig(align=align))

    def work() -> None:
        moved = methods.aligned(network, theta_0, theta_1, dataset, 0)
        path_curves(network, theta_0, dict(moved), dataset, POINTS, methods=methods)

    return work


def _two(dataset: str, model: dict[str, Any]) -> Any:
    """Return a network and two of its initialisations."""
    import torch

    from benchmarks.ours import as_a_worker, run_config
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.models.registry import build_model

    as_a_worker()
    network = build_model(run_config(dataset, model, 1).model, dataset_info(dataset))
    return network, [network.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]


def _distance(a: Any, b: Any) -> float:
    squares = sum(float((a[name] - b[name]).double().square().sum()) for name in a)
    return float(squares**0.5)
