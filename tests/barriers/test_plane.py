"""The plane through three runs: worked out by hand, its corners, edges and stacks, and three runs that span none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import final_weights, run_config, tiny_dataset, train
from torch import Tensor

from lmc_repro.barriers import measure, path
from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.measure import plane_or_reason
from lmc_repro.barriers.pair import PairEnd
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.plane import NoPlane, PlaneTask, plane_key, plane_task
from lmc_repro.barriers.results import Plane
from lmc_repro.barriers.surface import Frame, plane_on
from lmc_repro.config.path import PlaneConfig
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.registry import build_model
from lmc_repro.training.checkpoint import Checkpoint, encode
from lmc_repro.training.run_folder import RunFolder

RELU = {"depth": 2, "width": 9, "slope": 0.0}
NORMED = {"kind": "module", "module": f"{Path(__file__).parents[1] / 'models' / 'own_modules.py'}:normed"}


def task_of(weights: Sequence[dict[str, Tensor]], config: RunConfig, **grid: Any) -> PlaneTask:
    files = [Checkpoint(Path(str(i)), encode(each), "fix") for i, each in enumerate(weights)]
    return PlaneTask(
        ("a", "b", "c"), (files[0], files[1], files[2]), config.model, config.data, Path(), PlaneConfig(**grid)
    )


def three(dataset: Dataset, root: Path, **changes: Any) -> list[RunFolder]:
    seeds = ({"trainer": 0, "loader": 0}, {"trainer": 0, "loader": 1}, {"trainer": 1, "loader": 2})
    return train([run_config(seeds=each, **changes) for each in seeds], dataset, root)


def test_the_plane_of_a_logistic_network_worked_out_by_hand() -> None:
    """Of one pixel p and two classes, the logits at (x, y) are x and y p: class 1 is predicted where y p > x."""
    dataset = tiny_dataset(shape=(1, 1, 1), classes=2)
    zero = {"layers.0.weight": torch.zeros(2, 1), "layers.0.bias": torch.zeros(2)}
    across = {**zero, "layers.0.bias": torch.tensor([4.0, 0.0])}
    up = {**zero, "layers.0.weight": torch.tensor([[0.0], [3.0]])}
    config = run_config(model={"kind": "mlp", "depth": 1})
    plane = plane_on(dataset, task_of([zero, across, up], config, points=5, margin=0.5))
    assert plane.corners == ((0.0, 0.0), (4.0, 0.0), (0.0, 3.0))
    assert (plane.xs, plane.ys) == ((-2.0, 0.0, 2.0, 4.0, 6.0), (-2.0, -0.25, 1.5, 3.25, 5.0))
    for split, part in zip(SPLITS, (dataset.train, dataset.test), strict=True):
        p, labels = normalise(part.images, dataset.info).flatten().double().numpy(), part.labels.numpy()

        def expected(x: float, y: float, p: Any = p, labels: Any = labels) -> tuple[int, float]:
            logits = np.stack([np.full(len(p), x), y * p])
            loss = np.logaddexp(*logits) - logits[labels, np.arange(len(p))]
            return int(((y * p > x) != labels).sum()), float(loss.mean())

        values = {}
        for y, row in zip(plane.ys, plane.rows[split], strict=True):
            values |= {(x, y): pair for x, pair in zip(plane.xs, zip(row.wrong, row.loss, strict=True), strict=True)}
        runs = plane.runs[split]
        for places in (values.items(), zip(plane.corners, zip(runs.wrong, runs.loss, strict=True), strict=True)):
            for place, (wrong, loss) in places:
                assert (wrong, loss) == (expected(*place)[0], pytest.approx(expected(*place)[1], abs=1e-5)), place
        assert len(set(values.values())) > 15  # a plane on which something happens


@pytest.mark.parametrize("model", [RELU, pytest.param(NORMED, marks=pytest.mark.slow)], ids=["mlp", "batchnorm"])
def test_corners_have_the_runs_own_counts(model: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    dataset = digits if model is NORMED else tiny_dataset()
    changes = {"model": model, "data": {"dataset": dataset.info.name}, "epochs": 1, "evaluate_at": [0, 1]}
    folders = three(dataset, tmp_path, **changes, batch_size=20)
    task = plane_task([PairEnd.of(folder) for folder in folders], Path(), PlaneConfig(points=2))
    plane = plane_on(dataset, task)
    assert plane.fingerprints == tuple(folder.fingerprint for folder in folders)
    for i, folder in enumerate(folders):
        last = {row.split: row for row in folder.metrics() if row.epoch == 1}
        for split in SPLITS:
            found = plane.runs[split]
            assert (found.wrong[i], found.n, found.loss[i]) == (last[split].wrong, last[split].n, last[split].loss)


@pytest.mark.parametrize("model", [RELU, {"depth": 1}], ids=["relu", "logistic"])
def test_edges_are_paths_and_distances_are_true_to_scale(model: dict[str, Any], tmp_path: Path) -> None:
    dataset = tiny_dataset(n_train=301)
    weights = [final_weights(folder) for folder in three(dataset, tmp_path, model=model)]
    config = run_config(model=model)
    network = build_model(config.model, dataset.info)
    for i in range(3):
        turned = weights[i:] + weights[:i]  # every edge lies on the x axis once
        plane = plane_on(dataset, task_of(turned, config, points=7, margin=0.0))
        apart = [math.dist(a, b) for a, b in combinations(plane.corners, 2)]
        squares = [
            sum((a[name].double() - b[name].double()).square().sum().item() for name in a)
            for a, b in combinations(turned, 2)
        ]
        assert apart == pytest.approx([square**0.5 for square in squares], rel=1e-12)
        assert plane.ys[0] == plane.xs[0] == 0.0 and plane.xs[-1] == plane.corners[1][0]
        edge = path_curves(network, turned[0], turned[1], dataset, 7)
        for split in SPLITS:
            assert plane.rows[split][0].wrong == edge[split].wrong
            assert plane.rows[split][0].loss == pytest.approx(edge[split].loss, rel=1e-5)


@pytest.mark.parametrize("model", [RELU, NORMED], ids=["mlp", "batchnorm"])
def test_points_have_equal_bits_alone_and_in_a_stack(
    model: dict[str, Any], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = replace(digits.train, images=digits.train.images[:70], labels=digits.train.labels[:70])
    dataset = replace(digits, train=cut, test=cut)
    config = run_config(model=model, data={"dataset": "digits"})
    network = build_model(config.model, dataset.info)
    weights = [network.init(torch.Generator().manual_seed(seed)) for seed in range(3)]
    planes = []
    for together in (1, 5):
        monkeypatch.setattr(path, "SIDE_BY_SIDE", together)
        planes.append(plane_on(dataset, task_of(weights, config, points=5)))
    assert planes[0] == planes[1]
    assert len({wrong for row in planes[0].rows["train"] for wrong in row.wrong}) > 3


def test_three_runs_that_span_no_plane_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, config = tiny_dataset(), run_config(model=RELU)
    a, b, c = (build_model(config.model, dataset.info).init(torch.Generator().manual_seed(seed)) for seed in range(3))
    between = {name: torch.lerp(a[name], b[name], 0.3) for name in a}
    beyond = {name: torch.lerp(a[name], b[name], -2.0) for name in a}
    lost = {name: torch.full_like(weight, float("nan")) for name, weight in a.items()}
    monkeypatch.setattr(measure, "_dataset", lambda prepared, name, device: dataset)
    for runs, words in (
        ((a, b, between), "one line"),
        ((a, b, beyond), "one line"),
        ((a, a, b), "one line"),
        ((a, b, b), "one line"),
        ((a, lost, c), "not finite"),
    ):
        with pytest.raises(NoPlane) as refused:
            plane_on(dataset, task_of(runs, config))
        reason = plane_or_reason(task_of(runs, config))
        assert reason == str(refused.value) and words in str(reason) and "\n" not in str(reason)
    assert isinstance(plane_or_reason(task_of((a, b, c), config, points=2)), Plane)


def test_the_frame_gives_the_runs_back() -> None:
    weights = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    frame = Frame.through(weights)
    assert [(frame.u @ frame.u).item(), (frame.v @ frame.v).item()] == pytest.approx([1.0, 1.0], abs=1e-12)
    assert (frame.u @ frame.v).item() == pytest.approx(0.0, abs=1e-12)
    for place, row in zip(frame.corners, weights, strict=True):
        torch.testing.assert_close(frame.at(*place), row, rtol=1e-6, atol=1e-7)


def test_runs_grid_and_numerics_move_the_key_and_nothing_else_does() -> None:
    grid, runs = PlaneConfig(), ["a", "b", "c"]
    keys = [
        plane_key(runs, grid, "portable"),
        plane_key(["b", "a", "c"], grid, "portable"),
        plane_key(runs, PlaneConfig(points=20), "portable"),
        plane_key(runs, PlaneConfig(margin=0.1), "portable"),
        plane_key(runs, grid, "native"),
    ]
    assert len(set(keys)) == 5 and plane_key(tuple(runs), PlaneConfig(points=21, margin=0.2), "portable") == keys[0]
