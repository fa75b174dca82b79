"""The curve of a pair: 11 alphas at once, its first layer from two products, against eleven plain evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.networks import NETWORKS
from benchmarks.options import Options

POINTS = 11
IMAGES = {"minimal": (20_000, 10_000), "mlp8": (4_000, 1_000), "cnn": (4_000, 1_000), "lc-cnn": (4_000, 1_000)}
"""Of each split."""


def measure(options: Options) -> dict[str, Any]:
    """Return `curve_ratio`, that of the minimal network, and under `curves` all ratios, seconds and near-ties."""
    curves = {}
    for network in ("minimal",) if options.quick else IMAGES:
        ways = {
            way: [Task(f"benchmarks.curve:{way}", {"network": network, "quick": options.quick})]
            for way in ("path", "plain")
        }
        found = take_turns(ways, min(options.repeats, 3))
        counts = {way: found[way]["values"][0] for way in ways}
        apart = [abs(a - b) for a, b in zip(counts["path"], counts["plain"], strict=True)]
        # One thread: on a quiet machine these are the clock's seconds, on a shared one they still compare.
        seconds = {way: found[way]["cpu_seconds"] for way in ways}
        curves[network] = {
            "ratio": seconds["path"]["median"] / seconds["plain"]["median"],
            "most_counts_apart": max(apart),  # images, at one alpha of one split
            "cpu_seconds": seconds,
        }
    return {"curve_ratio": curves["minimal"]["ratio"], "curves": curves}


def path(network: str, quick: bool) -> Callable[[], list[int]]:
    """Return the project's way: it returns the counts of wrong predictions, train and then test."""
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.barriers.path import path_curves

    model, (theta_0, theta_1), dataset = _pair(network, quick)

    def work() -> list[int]:
        curves = path_curves(model, theta_0, theta_1, dataset, POINTS)
        return [count for split in SPLITS for count in curves[split].wrong]

    return work


def plain(network: str, quick: bool) -> Callable[[], list[int]]:
    """Return the plain way: one network after another, each evaluated on both splits."""
    from lmc_repro.barriers.path import path_weights
    from lmc_repro.training.evaluate import evaluate
    from lmc_repro.training.stack import Layout

    model, ends, dataset = _pair(network, quick)
    layout = Layout(model)
    rows = layout.stack(ends)
    weights = path_weights(rows[0], rows[1], POINTS)

    def work() -> list[int]:
        counts: list[list[int]] = [[], []]
        for i in range(POINTS):
            views = layout.views(weights[i : i + 1])
            for split, part in enumerate((dataset.train, dataset.test)):
                counts[split].append(evaluate(model, views, part, dataset.info)[0].wrong)
        return counts[0] + counts[1]

    return work


def _pair(network: str, quick: bool) -> Any:
    """Return a model, two networks of different initialisations, and the data."""
    import torch

    from benchmarks.data import mnist
    from benchmarks.ours import as_a_worker, run_config
    from lmc_repro.models.registry import build_model

    as_a_worker()
    dataset = mnist(*IMAGES[network], quick=quick)
    model = build_model(run_config("mnist", NETWORKS[network].model, 1).model, dataset.info)
    return model, [model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)], dataset
