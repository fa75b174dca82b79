"""Measurement of one pair, or of one plane, from stored weights alone."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from lmc_repro.barriers.alignment import recorded
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.layers import partial_end
from lmc_repro.barriers.methods import PathMethods, path_methods
from lmc_repro.barriers.pair import PairTask, judge_epoch
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.plane import NoPlane, PlaneTask
from lmc_repro.barriers.results import PairResult, Plane
from lmc_repro.barriers.surface import plane_on
from lmc_repro.common.numerics import use_one_thread
from lmc_repro.data.dataset import Dataset, load_dataset, with_label_noise
from lmc_repro.models.base import evaluated
from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import predict
from lmc_repro.training.stack import Layout


def measure_pair(task: PairTask) -> PairResult:
    """Return curves and barriers at every evaluation epoch, and the endpoints' distance at the last."""
    use_one_thread()
    return measure_on(_dataset(task.prepared, task.data.dataset, torch.device(task.device)), task)


def measure_plane(task: PlaneTask) -> Plane:
    """Return error and loss on the plane through three runs; NoPlane if they span none."""
    use_one_thread()
    return plane_on(_dataset(task.prepared, task.data.dataset, torch.device(task.device)), task)


def plane_or_reason(task: PlaneTask) -> Plane | str:
    """Return the plane, or in one line why there is none: the planes of other cells go on."""
    try:
        return measure_plane(task)
    except NoPlane as error:
        return str(error)


@torch.no_grad()
def measure_on(dataset: Dataset, task: PairTask, methods: PathMethods | None = None) -> PairResult:
    """Measure a pair like `measure_pair`, but with a data set in memory and the process's own number of threads.

    `methods` are those that the task names, unless they are given. Distance and all else are of the aligned ends,
    of a partial path of its own two.
    """
    methods = methods or path_methods(task.path)
    # Train is what the runs were trained on, noisy labels included; nothing is augmented here.
    dataset = with_label_noise(dataset, task.data.label_noise)
    device, largest_class = dataset.train.images.device, dataset.train.largest_class
    model = build_model(task.model, dataset.info)
    evaluations = []
    for epoch, files in sorted(task.weights.items()):
        theta_0, theta_1 = (file.tensors() for file in files)
        aligned = methods.aligned(model, theta_0, theta_1, dataset, task.trainer_seed)
        permutations = recorded(model, theta_1, aligned)
        theta_1 = partial_end(model, theta_0, aligned, methods.layers)
        curves = path_curves(model, theta_0, theta_1, dataset, task.points, device, methods)
        evaluations.append(judge_epoch(epoch, curves, task.diverged, dataset.info.classes, largest_class, task.epochs))
    ends = Layout(model).stack([theta_0, theta_1])  # of the last evaluation epoch
    apart = _distance(ends[0], ends[1])
    views = Layout(model).views(ends.to(device))
    network = evaluated(model, views, dataset.train)
    disagreement: dict[SplitName, float] = {}
    for split, part in zip(SPLITS, (dataset.train, dataset.test), strict=True):
        predictions = predict(network, views, part, dataset.info)
        disagreement[split] = (predictions[0] != predictions[1]).sum().item() / len(part)
    who = (task.pair, task.trainer_seed, task.fingerprints)
    return PairResult(*who, largest_class, tuple(evaluations), *apart, disagreement, task.epochs, permutations)


def _distance(theta_0: Tensor, theta_1: Tensor) -> tuple[float | None, float | None]:
    """Return Euclidean distance and cosine, in float64; None where they are not finite."""
    a, b = theta_0.double(), theta_1.double()
    values = (torch.linalg.vector_norm(a - b).item(), torch.nn.functional.cosine_similarity(a, b, dim=0).item())
    distance, cosine = (value if math.isfinite(value) else None for value in values)
    return distance, cosine


@cache
def _dataset(prepared: Path, name: str, device: torch.device) -> Dataset:
    return load_dataset(prepared, name).to(device)  # once per process, not per pair
